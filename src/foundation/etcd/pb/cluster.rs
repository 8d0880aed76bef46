//! The service `etcdserverpb.Cluster`.

use super::header::ResponseHeader;
use super::messages::messages;

messages! {
    Member {
        uint64 id = 1 as "ID",
        string name = 2,
        strings peer_urls = 3 as "peerURLs",
        strings client_urls = 4 as "clientURLs",
        bool is_learner = 5 as "isLearner",
    }
    MemberListRequest {
        bool linearizable = 1,
    }
    MemberListResponse {
        message<ResponseHeader> header = 1,
        repeated<Member> members = 2,
    }
}
