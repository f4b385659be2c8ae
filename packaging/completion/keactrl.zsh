#compdef keactrl
# SPDX-License-Identifier: MPL-2.0
# zsh completion for keactrl(8)
_keactrl_servers() {
    _values -s , server all dhcp4 dhcp6 dhcp_ddns ctrl_agent netconf
}
_arguments \
    '1:command:(start stop reload status version -v --version -V -h --help)' \
    '*'{-c,--ctrl-config}'[read this keactrl.conf]:file:_files' \
    '*'{-s,--server}'[only these servers]:servers:_keactrl_servers' \
    '--compat-exit[exit with 0 whatever came of it]' \
    '--json[everything that is known, for programs (status)]'
