"""The commands of a shell block, held against the commands, targets and files that there are."""

import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from io import StringIO

import typer

from tests.pages.blocks import Block
from tests.pages.command_line import parse
from tests.pages.placeholders import sample
from tests.support.paths import ROOT

# Programs that are not ours. Whoever has a page use another one adds it here.
PROGRAMS = {
    *("apt", "apt-get", "cat", "cd", "chronyd", "cp", "curl", "diff", "dpkg", "echo", "eval"),
    *("export", "git", "grep", "head", "journalctl", "jq", "ls", "mkdir", "mv", "openssl", "pip"),
    *("promtool", "pytest", "python", "python3", "rm", "ruff", "sed", "set", "sh", "source", "ssh"),
    *("sudoedit", "systemctl", "systemd-creds", "tail", "tee", "timedatectl", "touch", "umask"),
    *("unset", "uptime"),
}
_VENV = re.compile(r"(?:\S*/)?(?:\.?venv|[\w-]+)/bin/(?P<name>[\w-]+)$")
_TREE = re.compile(r"(?:\./)?(?:config|docs|jobs|sweeper|systemd|tests|\.ci)/[\w./-]+$")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SUBSTITUTION = re.compile(r"\$\(((?:[^()]|\([^()]*\))*)\)")
_REMARK = re.compile(r"(?m)(?:^|[ \t]+)#(?: .*)?$")
_INPUT = re.compile(r"(?ms)<<-?\s*'?(\w+)'?([^\n]*)\n.*?^\1$")
_ENDS = re.compile(r"[;|&()\n]+")
_TARGETS = re.compile(r"(?m)^([a-z][\w-]*):")


def faults(block: Block) -> list[str]:
    """Return what a block names that there is not, each as a sentence."""
    found = []
    for words in commands(block.text):
        found += [f"{block}: {fault}" for fault in _faults_of(words)]
    return found


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each simple command, without assignments, redirections and sudo."""
    text = _REMARK.sub("", _INPUT.sub(r"\2", text.replace("\\\n", " ")))
    for inner in _SUBSTITUTION.findall(text):
        yield from commands(inner)
    lexer = shlex.shlex(
        StringIO(_SUBSTITUTION.sub("x", text)), posix=True, punctuation_chars=";|&()\n"
    )
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    words: list[str] = []
    for token in [*lexer, "\n"]:
        if not _ENDS.fullmatch(token):
            words.append(token)
        elif words:
            yield from _simple(words)
            words = []


def _simple(words: list[str]) -> Iterator[list[str]]:
    while words and (words[0] == "sudo" or _ASSIGNMENT.match(words[0])):
        words = words[1:]
    kept, is_target = [], False
    for word in words:
        if not is_target and not re.fullmatch(r"\d?[<>]+.*", word):
            kept.append(word)
        is_target = bool(re.fullmatch(r"\d?>{1,2}", word))
    if kept:
        yield kept


def _faults_of(words: list[str]) -> Iterator[str]:
    name, arguments = words[0], [sample(word) for word in words[1:]]
    if found := _VENV.fullmatch(name):
        name = found["name"]
    if name == "sweeper":
        try:
            with suppress(typer.Exit), redirect_stdout(StringIO()):  # --help
                parse(arguments)
        except typer.TyperException as error:
            told = "Missing command" if str(error).startswith("Usage:") else error
            yield f"sweeper {' '.join(arguments)}: {told}"
    elif name == "make":
        targets = {*_TARGETS.findall((ROOT / "Makefile").read_text("utf-8"))}
        named = {word for word in arguments if "=" not in word and not word.startswith("-")}
        yield from (f"make has no target {word}" for word in sorted(named - targets))
    elif name == "sh" and "-c" in arguments:
        for inner in commands(arguments[arguments.index("-c") + 1]):
            yield from _faults_of(inner)
    elif not (found or name in PROGRAMS or _TREE.fullmatch(name)):
        yield f"{name} is no program that pages use"
    for word in (words[0], *arguments):
        path = word.partition("::")[0].partition("#")[0]
        if _TREE.fullmatch(path) and not (ROOT / path).exists():
            yield f"there is no file {path}"
