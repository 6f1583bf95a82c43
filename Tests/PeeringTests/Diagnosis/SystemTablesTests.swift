import Testing

@testable import Peering

@Suite struct SystemTablesTests {
    @Test func `Listening sockets are read from the kernel's table`() {
        let table = """
              sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
               0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0
               1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0
               2: 0100007F:1F92 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0
               3: broken
            """
        #expect(
            SystemTables.listeners(table) == [
                ListeningPort(address: .loopback, port: 8080),
                ListeningPort(address: .unspecifiedIPv4, port: 8081),
            ])
        #expect(SystemTables.inodes(table, port: 8082) == ["4713"])
    }

    @Test func `Who holds the near end of an open connection is read, and of no other`() {
        let table = """
              sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
               0: 0200007F:1F92 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1001        0 4711 1 0 100 0 0
               1: 0100007F:1F92 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 100 0 0
               2: 0100007F:9999 0100007F:1F92 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0
               3: 0100007F:1F93 0100007F:9999 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0 100 0 0
               4: broken
            """
        #expect(SystemTables.owner(table, ofConnectionFrom: 0x1F92, to: 0x9999) == 1_000)
        #expect(SystemTables.owner(table, ofConnectionFrom: 0x1F93, to: 0x9999) == nil, "it has been closed")
        #expect(SystemTables.owner(table, ofConnectionFrom: 0x1F94, to: 0x9999) == nil)
    }

    @Test func `IPv6 addresses of the table are read`() throws {
        let table = """
              sl  local_address                         remote_address                        st
               0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 4711 1
            """
        #expect(SystemTables.listeners(table).first?.address == ScopedAddress("::1"))
    }

    @Test func `Members of a group are read`() {
        let table = """
            Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
            1\tlo        :     2      V3
            \t\t\t\t632AFFEF     1 0:00000000\t\t0
            \t\t\t\t010000E0     1 0:00000000\t\t0
            2\teth0      :     1      V3
            \t\t\t\t010000E0     1 0:00000000\t\t0
            """
        #expect(SystemTables.members(of: ScopedAddress(known: [239, 255, 42, 99]), table) == ["lo"])
        #expect(SystemTables.members(of: ScopedAddress(known: [224, 0, 0, 1]), table) == ["lo", "eth0"])
    }

    @Test func `Routes that cover an address are read`() {
        let table = """
            Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
            eth1\t000000E0\t00000000\t0001\t0\t0\t0\t000000F0\t0\t0\t0
            eth2\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
            eth3\t000000E0\t00000000\t0201\t0\t0\t0\t000000F0\t0\t0\t0
            """
        #expect(SystemTables.routes(to: ScopedAddress(known: [239, 255, 42, 99]), table) == ["eth0", "eth1"])
    }
}

@Suite struct FirewallRulesTests {
    @Test func `A rule of nft that drops a port is found, and one that accepts it`() {
        let rules = FirewallRules(
            nft: """
                table inet filter {
                    chain input {
                        type filter hook input priority filter; policy accept;
                        udp dport 5354 drop
                        tcp dport { 80, 8000-8100 } accept
                        tcp dport 22 accept
                    }
                    chain output {
                        type filter hook output priority filter; policy accept;
                        tcp dport 9999 drop
                    }
                }
                """)
        #expect(rules.refuses(.udp, 5354) && !rules.refuses(.tcp, 5354))
        #expect(rules.accepts(.tcp, 8080) && rules.accepts(.tcp, 80) && !rules.accepts(.tcp, 443))
        #expect(!rules.refuses(.tcp, 9999))
        #expect(rules.droppingChains.isEmpty && rules.manager == nil)
    }

    @Test func `A chain that drops what no rule accepts is found`() {
        let rules = FirewallRules(
            nft: """
                table ip filter {
                    chain INPUT {
                        type filter hook input priority filter; policy drop;
                        counter packets 0 bytes 0 jump ufw-before-input
                    }
                    chain ufw-user-input {
                        tcp dport 8080 counter packets 0 bytes 0 accept
                    }
                }
                """)
        #expect(rules.droppingChains == ["INPUT"])
        #expect(rules.accepts(.tcp, 8080) && !rules.accepts(.udp, 5354))
        #expect(rules.manager == .ufw)
    }

    @Test func `Rules of iptables are read alike`() {
        let rules = FirewallRules(
            iptables: """
                -P INPUT DROP
                -P FORWARD ACCEPT
                -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
                -A INPUT -p udp -m multiport --dports 5353,5354 -j ACCEPT
                -A INPUT -p tcp -m tcp --dport 8080:8090 -j REJECT --reject-with icmp-port-unreachable
                -A OUTPUT -p tcp -m tcp --dport 25 -j DROP
                """)
        #expect(rules.droppingChains == ["INPUT"])
        #expect(rules.accepts(.udp, 5354) && rules.refuses(.tcp, 8085) && !rules.refuses(.tcp, 25))
    }

    @Test(arguments: ["", "}}}{{{", "chain", "type filter hook", "udp dport", "udp dport { , - } drop", "-A INPUT -j"])
    func `Odd listings neither trap nor find anything`(listing: String) {
        #expect(FirewallRules(nft: "chain input {\n\(listing)") == FirewallRules(nft: ""))
        #expect(FirewallRules(iptables: listing) == FirewallRules(iptables: ""))
    }
}
