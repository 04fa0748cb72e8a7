// Keeps the page fresh without losing what is open, selected or focused; says so when it cannot.

const EVERY = 5000;

async function refresh() {
  if (document.hidden || !getSelection().isCollapsed) return;
  try {
    const answer = await fetch("/", { cache: "no-store" });
    if (answer.status === 401) return location.reload(); // which asks for the token
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const focused = document.activeElement?.id;
    for (const open of document.querySelectorAll("#live details[open]")) {
      page.getElementById(open.id)?.setAttribute("open", "");
    }
    document.getElementById("live").replaceWith(page.getElementById("live"));
    document.title = page.title;
    if (focused) document.getElementById(focused)?.focus();
    document.body.classList.remove("old");
  } catch {
    document.body.classList.add("old");
  }
}

history.replaceState(null, "", "/"); // what was told once is not told again
setInterval(refresh, EVERY);
document.addEventListener("visibilitychange", refresh);
