# SPDX-License-Identifier: MPL-2.0
"""kea-agent's completions from its own command line: `python3 packaging/completion/from_parser.py` writes them beside this file.

keactrl's are written by hand: it parses its words itself, as the script does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from kea_agent.cli import parser  # noqa: E402 - from the tree, not from what is installed
from kea_agent.daemons import BY_NAME  # noqa: E402

HEAD = "# SPDX-License-Identifier: MPL-2.0\n# {shell} completion for kea-agent(8); made by from_parser.py\n"
DELEGATED = "keactrl"


@dataclass(frozen=True)
class Takes:
    """What may stand in a place: some words, and the names of files or of directories."""

    words: tuple[str, ...] = ()
    files: bool = False
    directories: bool = False

    def __or__(self, other: Takes) -> Takes:
        """Either of them."""
        return Takes((*self.words, *other.words), self.files or other.files, self.directories or other.directories)


@dataclass(frozen=True)
class Option:
    """One option; `takes` is None for one without a value."""

    names: tuple[str, ...]
    help: str
    takes: Takes | None


@dataclass(frozen=True)
class Verb:
    """One verb: its options, and what its other words may be."""

    name: str
    help: str
    options: tuple[Option, ...]
    takes: Takes

    @property
    def flags(self) -> str:
        """The names of all options."""
        return " ".join(name for option in self.options for name in option.names)


def takes(action: argparse.Action) -> Takes:
    """What a value of this option or argument may be."""
    named = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    words = tuple(BY_NAME) if "DAEMON" in named else tuple(each for each in action.choices or () if each)
    return Takes(words, files="FILE" in named, directories=named == "SETTINGS")


def options(of: argparse.ArgumentParser) -> tuple[Option, ...]:
    """Every option of the whole command, or of a verb."""
    return tuple(
        Option(tuple(each.option_strings), each.help or "", None if each.nargs == 0 else takes(each))
        for each in of._actions  # noqa: SLF001 - argparse has no other way to look into a parser
        if each.option_strings
    )


def verbs(top: argparse.ArgumentParser) -> Iterator[Verb]:
    """Every verb, as the parser has them."""
    [subparsers] = (each for each in top._actions if isinstance(each, argparse._SubParsersAction))  # noqa: SLF001
    for shown in subparsers._choices_actions:  # noqa: SLF001
        verb = subparsers.choices[shown.dest]
        words = Takes()
        for action in verb._actions:  # noqa: SLF001
            words |= Takes() if action.option_strings else takes(action)
        yield Verb(shown.dest, shown.help or "", options(verb), words)
    yield Verb(DELEGATED, "the manual's command, see keactrl(8)", (), Takes())


def bash() -> Iterator[str]:
    """The place is the verb, the word before, and what there is of this one; the first pattern that fits counts."""
    top = parser()
    every = list(verbs(top))
    flags = [name for option in options(top) for name in option.names]
    yield from ("_kea_agent() {", '    local word=${COMP_WORDS[COMP_CWORD]} words="" paths=""')
    yield '    local place="${COMP_WORDS[1]} ${COMP_WORDS[COMP_CWORD - 1]} $word"'
    yield '    ((COMP_CWORD > 1)) || place=""'
    yield from ("    case $place in", f'        "") words="{" ".join([*(verb.name for verb in every), *flags])}" ;;')
    yield from (f"        {line} ;;" for verb in every for line in _bash_verb(verb))
    yield from ("    esac", '    mapfile -t COMPREPLY < <(compgen ${paths:+"$paths"} -W "$words" -- "$word")', "}")
    yield "complete -o filenames -F _kea_agent kea-agent"


def _bash_verb(verb: Verb) -> Iterator[str]:
    for option in verb.options:
        if option.takes is not None:
            yield " | ".join(f'"{verb.name} {name} "*' for name in option.names) + f") {_bash(option.takes)}"
    flags = _bash(Takes(tuple(verb.flags.split())))
    if verb.takes != Takes():
        yield f'"{verb.name} "*" -"*) {flags}'
    # Where nothing but an option may follow, those are shown at once.
    yield f'"{verb.name} "*) {_bash(verb.takes) or flags}'


def _bash(found: Takes) -> str:
    words = f'words="{" ".join(found.words)}"' if found.words else ""
    paths = "paths=-f" if found.files else "paths=-d" if found.directories else ""
    return f"{words} {paths}".strip()


def zsh() -> Iterator[str]:
    """The verb first, then what it takes."""
    top = parser()
    every = list(verbs(top))
    yield from ("local curcontext=$curcontext state line", "local -A opt_args", "local -a verbs", "verbs=(")
    yield from (f"    {_quoted(f'{verb.name}:{verb.help}')}" for verb in every)
    yield from (")", "_arguments -C \\")
    yield from (f"    {each} \\" for option in options(top) for each in _zsh_option(option))
    yield from ("    '1: :->verb' '*:: :->words'", "case $state in", "    verb) _describe verb verbs ;;")
    yield from ("    words)", "        case $words[1] in")
    for verb in every:
        specs = [spec for option in verb.options for spec in _zsh_option(option)]
        if verb.takes != Takes():
            specs.append(_quoted(f"*:{_zsh(verb.takes)}"))
        if specs:
            yield from (f"            {verb.name})", "                _arguments \\")
            yield from (f"                    {spec} \\" for spec in specs[:-1])
            yield from (f"                    {specs[-1]}", "                ;;")
    yield from ("        esac", "        ;;", "esac")


def _zsh_option(option: Option) -> Iterator[str]:
    about = option.help.replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    for name in option.names:
        yield _quoted(f"*{name}[{about}]" + ("" if option.takes is None else f":{_zsh(option.takes)}"))


def _zsh(found: Takes) -> str:
    """A message and an action."""
    words = f"({' '.join(found.words)})"
    if found.words and found.files:
        return f" :_alternative 'words:word:{words}' 'files:file:_files'"
    if found.words:
        return f"word:{words}"
    return "path:_files -/" if found.directories else "path:_files" if found.files else "value: "


def fish() -> Iterator[str]:
    """One line for each word that there is."""
    top = parser()
    yield "complete -c kea-agent -f"
    for option in options(top):
        yield _fish("__fish_use_subcommand", option)
    for verb in verbs(top):
        yield f"complete -c kea-agent -n __fish_use_subcommand -a {verb.name} -d {_quoted(verb.help)}"
        here = f"__fish_seen_subcommand_from {verb.name}"
        for option in verb.options:
            yield _fish(here, option)
        if verb.takes != Takes():
            yield f"complete -c kea-agent -n '{here}'{_fish_value(verb.takes)}"


def _fish(where: str, option: Option) -> str:
    spelled = "".join(f" -{'l' if name.startswith('--') else 's'} {name.lstrip('-')}" for name in option.names)
    value = "" if option.takes is None else " -r" + _fish_value(option.takes)
    return f"complete -c kea-agent -n '{where}'{spelled}{value} -d {_quoted(option.help)}"


def _fish_value(found: Takes) -> str:
    words = f" -a '{' '.join(found.words)}'" if found.words else ""
    return words + (" -F" if found.files else " -f -a '(__fish_complete_directories)'" if found.directories else " -f")


def _quoted(text: str) -> str:
    """One word of each of the shells; all join what stands side by side."""
    return "'" + text.replace("'", "'\\''") + "'"


SHELLS: Mapping[str, Callable[[], Iterator[str]]] = {"bash": bash, "fish": fish, "zsh": zsh}


def script(shell: str) -> str:
    """The whole file for a shell."""
    first = "#compdef kea-agent\n" if shell == "zsh" else ""
    return first + HEAD.format(shell=shell) + "\n".join(SHELLS[shell]()) + "\n"


if __name__ == "__main__":
    for each in SHELLS:
        (HERE / f"kea-agent.{each}").write_text(script(each))
