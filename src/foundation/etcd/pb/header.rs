//! The header of every answer.

use super::messages::messages;

messages! {
    /// The member that answered, its term, and the store's revision at that time.
    ResponseHeader {
        uint64 cluster_id = 1,
        uint64 member_id = 2,
        int64 revision = 3,
        uint64 raft_term = 4,
    }
}
