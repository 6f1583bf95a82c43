import Testing

@testable import Core

#if DEBUG
    @Suite struct FailpointTests {
        @Test("What is to happen where is read from one text")
        func orders() {
            #expect(
                Failpoint.orders("store.commit.before=kill@3,batch.send=sleep:50,store.flush.before=error")
                    == [
                        .storeCommitBefore: Failpoint.Order(action: .kill, at: 3),
                        .batchSend: Failpoint.Order(action: .sleep(milliseconds: 50), at: nil),
                        .storeFlushBefore: Failpoint.Order(action: .error, at: 1),
                    ])
            #expect(Failpoint.orders("") == [:])
        }

        @Test(
            "A text that makes no sense is refused: a test that arms nothing would prove nothing",
            arguments: [
                "store.commit", "store.commit.before", "store.commit.before=", "store.commit.before=die",
                "store.commit.before=kill@", "store.commit.before=kill@x", "store.commit.before=sleep:long", "x=kill",
            ])
        func nonsense(text: String) {
            #expect(Failpoint.orders(text) == nil)
        }

        @Test("There are forty and more")
        func count() {
            #expect(Failpoint.allCases.count >= 40)
        }
    }
#endif
