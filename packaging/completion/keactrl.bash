# SPDX-License-Identifier: MPL-2.0
# bash completion for keactrl(8)
_keactrl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} list
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "start stop reload status version -v --version -V -h --help" -- "$word")
        return
    fi
    case $before in
        -c | --ctrl-config)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            ;;
        -s | --server)
            list=${word%"${word##*,}"}
            mapfile -t COMPREPLY < <(compgen -P "$list" -W "all dhcp4 dhcp6 dhcp_ddns ctrl_agent netconf" -- "${word##*,}")
            ;;
        *)
            list="-c --ctrl-config -s --server --compat-exit"
            [[ ${COMP_WORDS[1]} == status ]] && list+=" --json"
            mapfile -t COMPREPLY < <(compgen -W "$list" -- "$word")
            ;;
    esac
}
complete -F _keactrl keactrl
