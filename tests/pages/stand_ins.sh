# What a page's shell begins with: functions that stand in for what a test cannot do as a reader does.
set -eo pipefail

# A clone whose environment is set up already; the tree is the one that is tested.
git() {
    if [ "$1" = clone ]; then cp -a "$TREE" "$3"; else command git "$@"; fi
}

# A person watches for a while, and presses Ctrl-C.
until_ctrl_c() {
    local code=0
    timeout --foreground --signal INT --kill-after 60 10 "$@" || code=$?
    [ "$code" = 0 ] || [ "$code" = 124 ] || [ "$code" = 130 ]
}
