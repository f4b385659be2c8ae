# SPDX-License-Identifier: MPL-2.0
# bash completion for kea-agent(8); made by from_parser.py
_kea_agent() {
    local word=${COMP_WORDS[COMP_CWORD]} words="" paths=""
    local place="${COMP_WORDS[1]} ${COMP_WORDS[COMP_CWORD - 1]} $word"
    ((COMP_CWORD > 1)) || place=""
    case $place in
        "") words="status check reload diff history rollback apply confirm metrics run keactrl -h --help --version" ;;
        "status "*) words="-h --help --json" ;;
        "check --level "*) words="syntax rules kea rehearsal" ;;
        "check --kea-version "*)  ;;
        "check --disable "*)  ;;
        "check --previous "*) paths=-f ;;
        "check --settings "*) paths=-d ;;
        "check --format "*) words="text json github sarif" ;;
        "check "*" -"*) words="-h --help --level --kea-version --disable --previous --settings --format --json" ;;
        "check "*) words="dhcp4 dhcp6 ddns ctrl-agent" paths=-f ;;
        "reload "*" -"*) words="-h --help --again --force --json" ;;
        "reload "*) words="dhcp4 dhcp6 ddns ctrl-agent" ;;
        "diff --settings "*) paths=-d ;;
        "diff "*" -"*) words="-h --help --settings --peer --json" ;;
        "diff "*) words="dhcp4 dhcp6 ddns ctrl-agent" paths=-f ;;
        "history --show "*)  ;;
        "history "*" -"*) words="-h --help --all --show --with-secrets --json" ;;
        "history "*) words="dhcp4 dhcp6 ddns ctrl-agent" ;;
        "rollback --settings "*) paths=-d ;;
        "rollback "*" -"*) words="-h --help --unconfirmed --yes --force --settings --json" ;;
        "rollback "*) words="dhcp4 dhcp6 ddns ctrl-agent" ;;
        "apply --confirm "*)  ;;
        "apply --settings "*) paths=-d ;;
        "apply "*" -"*) words="-h --help --confirm --force --settings --json" ;;
        "apply "*) words="dhcp4 dhcp6 ddns ctrl-agent" paths=-f ;;
        "confirm "*" -"*) words="-h --help --json" ;;
        "confirm "*) words="dhcp4 dhcp6 ddns ctrl-agent" ;;
        "metrics --settings "*) paths=-d ;;
        "metrics --output "*) paths=-f ;;
        "metrics "*) words="-h --help --settings --output" ;;
        "run --settings "*) paths=-d ;;
        "run --web.config.file "*) paths=-f ;;
        "run "*) words="-h --help --settings --web.config.file --test" ;;
        "keactrl "*)  ;;
    esac
    mapfile -t COMPREPLY < <(compgen ${paths:+"$paths"} -W "$words" -- "$word")
}
complete -o filenames -F _kea_agent kea-agent
