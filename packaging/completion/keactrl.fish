# SPDX-License-Identifier: MPL-2.0
# fish completion for keactrl(8)
complete -c keactrl -f
complete -c keactrl -n __fish_use_subcommand -a start -d "start what is enabled"
complete -c keactrl -n __fish_use_subcommand -a stop -d "stop what runs"
complete -c keactrl -n __fish_use_subcommand -a reload -d "check, reload and prove"
complete -c keactrl -n __fish_use_subcommand -a status -d "what runs on which files"
complete -c keactrl -n __fish_use_subcommand -a version -d "the daemons' versions"
complete -c keactrl -n __fish_use_subcommand -a "-v --version -V -h --help"
complete -c keactrl -n "not __fish_use_subcommand" -s c -l ctrl-config -r -F -d "read this keactrl.conf"
complete -c keactrl -n "not __fish_use_subcommand" -s s -l server -x -d "only these servers" \
    -a "(__fish_append , all dhcp4 dhcp6 dhcp_ddns ctrl_agent netconf)"
complete -c keactrl -n "not __fish_use_subcommand" -l compat-exit -d "exit with 0 whatever came of it"
complete -c keactrl -n "__fish_seen_subcommand_from status" -l json -d "everything, for programs"
