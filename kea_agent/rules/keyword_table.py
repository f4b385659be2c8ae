# SPDX-License-Identifier: MPL-2.0
"""The keywords of Kea's configuration by daemon and by the releases that know them.

Read out of the daemons' lexers (src/bin/*/*_lexer.ll) of 2.2.0, 2.4.2, 2.6.3, 3.0.4, 3.2.0 and 3.3.0. In which map a keyword
may stand is not told here; words that are values (`"memfile"`) are among them, too.
"""

from __future__ import annotations

# daemons, first and last release that knows them ("3.3": it still does), keywords
TABLE: tuple[tuple[str, str, str, str], ...] = (
    (
        "dhcp4 dhcp6",
        "2.2",
        "2.4",
        """
        all disabled generated-prefix global off out-of-pool override-client-update override-no-update
        qualifying-suffix replace-client-name reservation-mode
        """,
    ),
    (
        "dhcp4 dhcp6",
        "2.2",
        "2.6",
        """
        memfile mysql postgresql
        """,
    ),
    (
        "dhcp4 dhcp6",
        "2.2",
        "3.3",
        """
        always-send array cache-max-age cache-threshold calculate-tee-times capacity cert-file cipher-list
        client-class client-classes code comment compatibility config-control config-databases
        config-fetch-wait-time connect-timeout control-socket csv-format data ddns-generated-prefix
        ddns-override-client-update ddns-override-no-update ddns-qualifying-suffix ddns-replace-client-name
        ddns-send-updates ddns-update-on-renew ddns-use-conflict-resolution debuglevel decline-probation-period
        dhcp-ddns dhcp-queue-control dhcp4o6-port duid early-global-reservations-lookup enable-multi-threading
        enable-queue enable-updates encapsulate expired-leases-processing flex-id flush
        flush-reclaimed-timer-wait-time hold-reclaimed-time hooks-libraries host host-reservation-identifiers
        hostname hostname-char-replacement hostname-char-set hosts-database hosts-databases hw-address id interface
        interfaces interfaces-config ip-addresses ip-reservations-unique key-file lease-checks lease-database
        lenient-option-parsing lfc-interval library loggers max-queue-size max-reclaim-leases max-reclaim-time
        max-reconnect-tries max-row-errors max-valid-lifetime maxsize maxver min-valid-lifetime multi-threading name
        ncr-format ncr-protocol on-fail only-if-required option-data option-def output output_options
        packet-queue-size parameters parked-packet-limit password pattern persist pool pools port queue-type
        re-detect readonly rebind-timer reclaim-timer-wait-time reconnect-wait-time record-types relay renew-timer
        require-client-classes reservations reservations-global reservations-in-subnet reservations-lookup-first
        reservations-out-of-pool sanity-checks sender-ip sender-port serve-retry-continue serve-retry-exit server-ip
        server-port server-tag service-sockets-max-retries service-sockets-require-all
        service-sockets-retry-wait-time severity shared-networks socket-name socket-type space
        statistic-default-sample-age statistic-default-sample-count stop-retry-exit store-extended-info subnet
        t1-percent t2-percent test thread-pool-size trust-anchor type unwarned-reclaim-cycles user user-context
        valid-lifetime
        """,
    ),
    (
        "dhcp4 dhcp6",
        "2.4",
        "3.3",
        """
        allocator ddns-ttl-percent extended-info-checks never-send pool-id read-timeout tcp-user-timeout
        template-test write-timeout
        """,
    ),
    (
        "dhcp4 dhcp6",
        "2.6",
        "3.3",
        """
        ddns-conflict-resolution-mode output-options retry-on-startup
        """,
    ),
    (
        "dhcp4 dhcp6",
        "3.0",
        "3.3",
        """
        authentication basic cert-required clients control-sockets ddns-ttl ddns-ttl-max ddns-ttl-min directory
        evaluate-additional-classes http http-headers https only-in-additional-list password-file realm
        socket-address socket-port unix user-file value
        """,
    ),
    (
        "dhcp4 dhcp6",
        "3.2",
        "3.3",
        """
        adaptive-lease-time-threshold disable prefer require ssl-mode verify-ca verify-full
        """,
    ),
    (
        "dhcp4",
        "2.2",
        "3.3",
        """
        4o6-interface 4o6-interface-id 4o6-subnet Dhcp4 authoritative boot-file-name circuit-id client-id
        dhcp-socket-type echo-client-id ip-address match-client-id next-server outbound-interface raw
        same-as-inbound server-hostname subnet4 udp use-routing
        """,
    ),
    (
        "dhcp4",
        "2.4",
        "3.3",
        """
        exclude-first-last-24 ignore-dhcp-server-identifier ignore-rai-link-selection offer-lifetime
        """,
    ),
    (
        "dhcp4",
        "2.6",
        "3.3",
        """
        stash-agent-options
        """,
    ),
    (
        "dhcp6",
        "2.2",
        "2.4",
        """
        ip-address
        """,
    ),
    (
        "dhcp6",
        "2.2",
        "3.3",
        """
        Dhcp6 EN LL LLT data-directory delegated-len enterprise-id excluded-prefix excluded-prefix-len htype
        identifier interface-id mac-sources max-preferred-lifetime min-preferred-lifetime never pd-pools
        preferred-lifetime prefix prefix-len prefixes rapid-commit relay-supplied-options server-id subnet6 time
        """,
    ),
    (
        "dhcp6",
        "2.4",
        "3.3",
        """
        pd-allocator
        """,
    ),
    (
        "dhcp6",
        "3.0",
        "3.3",
        """
        excluded-prefixes
        """,
    ),
    (
        "dhcp6",
        "3.2",
        "3.3",
        """
        allow-address-registration
        """,
    ),
    (
        "ddns",
        "2.2",
        "3.3",
        """
        DhcpDdns algorithm comment control-socket ddns-domains debuglevel digest-bits dns-server-timeout dns-servers
        flush forward-ddns hooks-libraries hostname ip-address key-name library loggers maxsize maxver name
        ncr-format ncr-protocol output output_options parameters pattern port reverse-ddns secret severity
        socket-name socket-type tsig-keys user-context
        """,
    ),
    (
        "ddns",
        "2.6",
        "3.3",
        """
        output-options secret-file
        """,
    ),
    (
        "ddns",
        "3.0",
        "3.3",
        """
        authentication basic cert-file cert-required clients control-sockets directory http https key-file password
        password-file realm socket-address socket-port trust-anchor type unix user user-file
        """,
    ),
    (
        "ctrl-agent",
        "2.2",
        "3.3",
        """
        Control-agent authentication basic cert-file cert-required clients comment control-sockets d2 debuglevel
        dhcp4 dhcp6 directory flush hooks-libraries http-host http-port key-file library loggers maxsize maxver name
        output output_options parameters password password-file pattern realm severity socket-name socket-type
        trust-anchor type unix user user-context user-file
        """,
    ),
    (
        "ctrl-agent",
        "2.6",
        "3.3",
        """
        output-options
        """,
    ),
    (
        "ctrl-agent",
        "3.0",
        "3.3",
        """
        http-headers value
        """,
    ),
)
