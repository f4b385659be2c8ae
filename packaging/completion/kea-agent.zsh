#compdef kea-agent
# SPDX-License-Identifier: MPL-2.0
# zsh completion for kea-agent(8); made by from_parser.py
local curcontext=$curcontext state line
local -A opt_args
local -a verbs
verbs=(
    'status:what every daemon runs, and how its last change ended'
    'check:judge configurations without touching a daemon'
    'reload:have the running agent check, reload and prove daemons now'
    'diff:what differs in meaning between files and running servers'
    'history:the configurations that the servers were proven to run'
    'rollback:write one of those over the file, and have the server take it'
    'apply:put a file in the place of a daemon'\''s, if the server is proven to run it'
    'confirm:keep a change made with apply --confirm'
    'metrics:one scrape, as Prometheus gets it'
    'run:be the agent (what kea-agent.service does)'
    'keactrl:the manual'\''s command, see keactrl(8)'
)
_arguments -C \
    '*-h[show this help message and exit]' \
    '*--help[show this help message and exit]' \
    '*--version[print the version]' \
    '1: :->verb' '*:: :->words'
case $state in
    verb) _describe verb verbs ;;
    words)
        case $words[1] in
            status)
                _arguments \
                    '*-h[show this help message and exit]' \
                    '*--help[show this help message and exit]' \
                    '*--json[print JSON, for programs]'
                ;;
            check)
                _arguments \
                    '*-h[show this help message and exit]' \
                    '*--help[show this help message and exit]' \
                    '*--level[how deep to look (default\: kea); rehearsal needs root or Kea'\''s user]:word:(syntax rules kea rehearsal)' \
                    '*--kea-version[the Kea that is to read it (default\: the one installed)]:value: ' \
                    '*--disable[do not ask this rule; may be given again]:value: ' \
                    '*--previous[the configuration before, to find subnets whose id changed]:path:_files' \
                    '*--settings[directory of kea-agent.toml (default\: /etc/kea-agent)]:path:_files -/' \
                    '*--format[how to print what is found (default\: text)]:word:(text json github sarif)' \
                    '*--json[the same as --format json]' \
                    '*: :_alternative '\''words:word:(dhcp4 dhcp6 ddns ctrl-agent)'\'' '\''files:file:_files'\'''
                ;;
            reload)
                _arguments \
                    '*-h[show this help message and exit]' \
                    '*--help[show this help message and exit]' \
                    '*--again[also if the server runs its file already]' \
                    '*--force[the same, and also while the HA partner is away, a link is down, or loading would silence the server for long]' \
                    '*--json[print JSON, for programs]' \
                    '*:word:(dhcp4 dhcp6 ddns ctrl-agent)'
                ;;
            diff)
                _arguments \
                    '*-h[show this help message and exit]' \
                    '*--help[show this help message and exit]' \
                    '*--settings[directory of kea-agent.toml (default\: /etc/kea-agent)]:path:_files -/' \
                    '*--peer[leave out what each host of a pair has for itself]' \
                    '*--json[print JSON, for programs]' \
                    '*: :_alternative '\''words:word:(dhcp4 dhcp6 ddns ctrl-agent)'\'' '\''files:file:_files'\'''
                ;;
            history)
                _arguments \
                    '*-h[show this help message and exit]' \
                    '*--help[show this help message and exit]' \
                    '*--all[also those older than the ten newest]' \
                    '*--show[print this configuration, secrets masked]:value: ' \
                    '*--with-secrets[with --show, as root\: nothing is masked]' \
                    '*--json[print JSON, for programs]' \
                    '*:word:(dhcp4 dhcp6 ddns ctrl-agent)'
                ;;
            rollback)
                _arguments \
                    '*-h[show this help message and exit]' \
                    '*--help[show this help message and exit]' \
                    '*--unconfirmed[take back now what apply --confirm changed]' \
                    '*--yes[do not ask first]' \
                    '*--force[also while the HA partner is away]' \
                    '*--settings[directory of kea-agent.toml (default\: /etc/kea-agent)]:path:_files -/' \
                    '*--json[print JSON, for programs]' \
                    '*:word:(dhcp4 dhcp6 ddns ctrl-agent)'
                ;;
            apply)
                _arguments \
                    '*-h[show this help message and exit]' \
                    '*--help[show this help message and exit]' \
                    '*--confirm[taken back after this time (300, 5m, 1h) unless confirmed]:value: ' \
                    '*--force[also while the HA partner is away]' \
                    '*--settings[directory of kea-agent.toml (default\: /etc/kea-agent)]:path:_files -/' \
                    '*--json[print JSON, for programs]' \
                    '*: :_alternative '\''words:word:(dhcp4 dhcp6 ddns ctrl-agent)'\'' '\''files:file:_files'\'''
                ;;
            confirm)
                _arguments \
                    '*-h[show this help message and exit]' \
                    '*--help[show this help message and exit]' \
                    '*--json[print JSON, for programs]' \
                    '*:word:(dhcp4 dhcp6 ddns ctrl-agent)'
                ;;
            metrics)
                _arguments \
                    '*-h[show this help message and exit]' \
                    '*--help[show this help message and exit]' \
                    '*--settings[directory of kea-agent.toml (default\: /etc/kea-agent)]:path:_files -/' \
                    '*--output[replace this file as a whole instead of printing]:path:_files'
                ;;
            run)
                _arguments \
                    '*-h[show this help message and exit]' \
                    '*--help[show this help message and exit]' \
                    '*--settings[directory of kea-agent.toml (default\: /etc/kea-agent)]:path:_files -/' \
                    '*--web.config.file[TLS and passwords, in the format that Prometheus'\''s exporters share; wins over the setting]:path:_files' \
                    '*--test[only check the settings; exit 2 if they are wrong]'
                ;;
        esac
        ;;
esac
