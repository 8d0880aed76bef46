//! The service `etcdserverpb.Auth`, as far as a store without users and roles answers it.

use super::header::ResponseHeader;
use super::messages::messages;

messages! {
    /// The password behind the name is not read.
    AuthenticateRequest {
        string name = 1,
    }
    AuthenticateResponse {
        message<ResponseHeader> header = 1,
        string token = 2,
    }
    AuthStatusRequest {}
    AuthStatusResponse {
        message<ResponseHeader> header = 1,
        bool enabled = 2,
        uint64 auth_revision = 3 as "authRevision",
    }
    AuthUserListRequest {}
    AuthUserListResponse {
        message<ResponseHeader> header = 1,
        strings users = 2,
    }
    AuthRoleListRequest {}
    AuthRoleListResponse {
        message<ResponseHeader> header = 1,
        strings roles = 2,
    }
}
