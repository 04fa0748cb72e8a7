-- The platform as a sweeper meets it: its tables, for the demo and the tests, in the current schema.

CREATE TABLE "User" (
    id               TEXT PRIMARY KEY,
    email            TEXT NOT NULL UNIQUE,
    password         TEXT NOT NULL,
    slug             TEXT NOT NULL UNIQUE,
    "profileName"    TEXT,
    "profileBio"     TEXT,
    avatar           TEXT,
    "whatsappNumber" TEXT,
    "createdAt"      TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"      TIMESTAMP(3) NOT NULL
);

CREATE TABLE "Trip" (
    id             TEXT PRIMARY KEY,
    "jastiperId"   TEXT NOT NULL REFERENCES "User" ON DELETE CASCADE,
    slug           TEXT NOT NULL,
    title          TEXT NOT NULL,
    description    TEXT,
    url_img        TEXT,
    "isActive"     BOOLEAN NOT NULL DEFAULT true,
    "startDate"    TIMESTAMP(3),
    deadline       TIMESTAMP(3),
    "paymentType"  TEXT NOT NULL DEFAULT 'full',
    "dpPercentage" INT NOT NULL DEFAULT 20,
    "createdAt"    TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"    TIMESTAMP(3) NOT NULL
);

CREATE TABLE "Participant" (
    id               TEXT PRIMARY KEY,
    "tripId"         TEXT NOT NULL REFERENCES "Trip" ON DELETE CASCADE,
    phone            TEXT NOT NULL,
    name             TEXT NOT NULL,
    email            TEXT,
    address          TEXT,
    "courierName"    TEXT,
    "courierService" TEXT,
    "createdAt"      TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE ("tripId", phone)
);

CREATE TABLE "Guest" (
    id               TEXT PRIMARY KEY,
    "contactHash"    TEXT NOT NULL UNIQUE,
    name             TEXT NOT NULL,
    phone            TEXT NOT NULL,
    email            TEXT,
    "notifyWhatsapp" BOOLEAN NOT NULL DEFAULT true,
    "notifyEmail"    BOOLEAN NOT NULL DEFAULT false,
    "notifyPush"     BOOLEAN NOT NULL DEFAULT false,
    "rememberMe"     BOOLEAN NOT NULL DEFAULT false,
    "pushTokens"     JSONB,
    "firstVisit"     TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "lastActivity"   TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "totalOrders"    INT NOT NULL DEFAULT 0,
    "totalSpent"     INT NOT NULL DEFAULT 0,
    "createdAt"      TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"      TIMESTAMP(3) NOT NULL
);

CREATE TABLE "Product" (
    id                 TEXT PRIMARY KEY,
    "tripId"           TEXT NOT NULL REFERENCES "Trip" ON DELETE CASCADE,
    slug               TEXT NOT NULL,
    title              TEXT NOT NULL,
    price              INT NOT NULL,
    stock              INT,
    "isUnlimitedStock" BOOLEAN NOT NULL DEFAULT false,
    type               TEXT NOT NULL DEFAULT 'goods',
    unit               TEXT,
    "weightGram"       INT,
    image              TEXT,
    description        TEXT,
    "requiresDetails"  BOOLEAN NOT NULL DEFAULT false,
    "requiresProof"    BOOLEAN NOT NULL DEFAULT false,
    "markupType"       TEXT NOT NULL DEFAULT 'percent',
    "markupValue"      INT NOT NULL DEFAULT 0,
    status             TEXT NOT NULL DEFAULT 'active',
    "createdAt"        TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"        TIMESTAMP(3) NOT NULL
);

CREATE TABLE "Address" (
    id           TEXT PRIMARY KEY,
    "guestId"    TEXT NOT NULL REFERENCES "Guest" ON DELETE CASCADE,
    street       TEXT NOT NULL,
    city         TEXT NOT NULL,
    "postalCode" TEXT,
    "createdAt"  TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"  TIMESTAMP(3) NOT NULL
);

CREATE TABLE "Order" (
    id                   TEXT PRIMARY KEY,
    "orderCode"          TEXT UNIQUE,
    "participantId"      TEXT NOT NULL REFERENCES "Participant" ON DELETE CASCADE,
    "guestId"            TEXT,
    "productId"          TEXT REFERENCES "Product" ON DELETE RESTRICT,
    quantity             INT NOT NULL,
    "totalPrice"         INT NOT NULL,
    "proofUrl"           TEXT,
    "dpProofUrl"         TEXT,
    "finalProofUrl"      TEXT,
    status               TEXT NOT NULL DEFAULT 'pending_dp',
    notes                TEXT,
    "createdAt"          TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"          TIMESTAMP(3) NOT NULL,
    "tripId"             TEXT REFERENCES "Trip" ON DELETE SET NULL,
    "addressId"          TEXT REFERENCES "Address" ON DELETE SET NULL,
    "dpAmount"           INT NOT NULL DEFAULT 0,
    "dpPaidAt"           TIMESTAMP(3),
    "finalPaidAt"        TIMESTAMP(3),
    "validatedAt"        TIMESTAMP(3),
    "dpPaymentId"        TEXT,
    "finalPaymentId"     TEXT,
    "validatedBy"        TEXT,
    "rejectionReason"    TEXT,
    "finalAmount"        INT,
    "finalBreakdown"     JSONB,
    "shippingFee"        INT NOT NULL DEFAULT 0,
    "serviceFee"         INT NOT NULL DEFAULT 0,
    "platformCommission" INT NOT NULL DEFAULT 0
);

CREATE INDEX ON "Order" (status);
CREATE INDEX ON "Order" ("dpPaidAt");
CREATE INDEX ON "Order" ("validatedAt");
CREATE INDEX ON "Order" ("tripId");
CREATE INDEX ON "Order" ("addressId");
CREATE INDEX ON "Order" ("participantId");
CREATE INDEX ON "Order" ("productId");

CREATE TABLE "OrderItem" (
    id             TEXT PRIMARY KEY,
    "orderId"      TEXT NOT NULL REFERENCES "Order" ON DELETE CASCADE,
    "productId"    TEXT NOT NULL REFERENCES "Product" ON DELETE RESTRICT,
    "productType"  TEXT NOT NULL,
    "priceAtOrder" INT NOT NULL,
    quantity       INT NOT NULL,
    "itemSubtotal" INT NOT NULL,
    note           TEXT,
    "createdAt"    TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX ON "OrderItem" ("orderId");
CREATE INDEX ON "OrderItem" ("productId");

CREATE TABLE "NotificationLog" (
    id              TEXT PRIMARY KEY,
    "recipientType" TEXT NOT NULL,
    "recipientId"   TEXT NOT NULL,
    "guestId"       TEXT REFERENCES "Guest" ON DELETE SET NULL,
    "userId"        TEXT,
    channel         TEXT NOT NULL,
    "eventType"     TEXT NOT NULL,
    status          TEXT NOT NULL DEFAULT 'queued',
    "sentAt"        TIMESTAMP(3),
    "deliveredAt"   TIMESTAMP(3),
    "openedAt"      TIMESTAMP(3),
    "clickedAt"     TIMESTAMP(3),
    "errorMessage"  TEXT,
    metadata        JSONB,
    "createdAt"     TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE "FeesConfig" (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    percent     INT NOT NULL DEFAULT 0,
    flat        INT NOT NULL DEFAULT 0,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL
);

CREATE TABLE "BankAccount" (
    id              TEXT PRIMARY KEY,
    "userId"        TEXT NOT NULL REFERENCES "User" ON DELETE CASCADE,
    "bankName"      TEXT NOT NULL,
    "accountNumber" TEXT NOT NULL,
    "accountHolder" TEXT NOT NULL,
    "createdAt"     TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt"     TIMESTAMP(3) NOT NULL
);

CREATE TABLE "SocialMedia" (
    id          TEXT PRIMARY KEY,
    "userId"    TEXT NOT NULL REFERENCES "User" ON DELETE CASCADE,
    platform    TEXT NOT NULL,
    url         TEXT NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL
);

CREATE TABLE "GuestAccessToken" (
    id          TEXT PRIMARY KEY,
    "guestId"   TEXT NOT NULL REFERENCES "Guest" ON DELETE CASCADE,
    token       TEXT NOT NULL UNIQUE,
    "expiresAt" TIMESTAMP(3) NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);
