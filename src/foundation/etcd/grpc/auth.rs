//! `etcdserverpb.Auth`: the answers of a store whose authentication is off, and which has no users
//! and no roles. Calls that would change that are not served.

use super::super::pb;
use super::face::Face;
use std::sync::Arc;
use tonic::Status;

/// The revision of users and roles in a store that never had any, as in etcd.
const AUTH_REVISION: u64 = 1;

impl Face {
    /// Errors: always etcd's `ErrAuthNotEnabled`, by which a client that has a name and a password
    /// learns that it needs no token.
    pub(super) async fn authenticate(
        self: Arc<Self>,
        _: pb::AuthenticateRequest,
    ) -> Result<pb::AuthenticateResponse, Status> {
        Err(Status::failed_precondition("etcdserver: authentication is not enabled"))
    }

    pub(super) async fn auth_status(
        self: Arc<Self>,
        _: pb::AuthStatusRequest,
    ) -> Result<pb::AuthStatusResponse, Status> {
        let (header, auth_revision) = (self.header_now(), AUTH_REVISION);
        Ok(pb::AuthStatusResponse { header, enabled: false, auth_revision })
    }

    pub(super) async fn user_list(
        self: Arc<Self>,
        _: pb::AuthUserListRequest,
    ) -> Result<pb::AuthUserListResponse, Status> {
        Ok(pb::AuthUserListResponse { header: self.header_now(), users: vec![] })
    }

    pub(super) async fn role_list(
        self: Arc<Self>,
        _: pb::AuthRoleListRequest,
    ) -> Result<pb::AuthRoleListResponse, Status> {
        Ok(pb::AuthRoleListResponse { header: self.header_now(), roles: vec![] })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz::{One, framed};
    use super::*;
    use prost::Message;
    use tonic::Code;

    /// etcd's client asks for a token before its first call if it has a name and a password, and
    /// gives up after any other error than this one.
    #[test]
    fn a_client_with_a_password_learns_that_it_needs_no_token() {
        let one = One::start();
        let ask = |method: &str, message: Vec<u8>| {
            let status = one.ask(&format!("etcdserverpb.Auth/{method}"), framed(&message));
            (status.code(), status.message().to_string())
        };
        // the name in field 1, the password in field 2
        let request = pb::AuthenticateResponse { token: "secret".into(), ..Default::default() };
        let request =
            [pb::AuthenticateRequest { name: "root".into() }.encode_to_vec(), request.encode_to_vec()];
        let refused = (Code::FailedPrecondition, "etcdserver: authentication is not enabled".to_string());
        assert_eq!(ask("Authenticate", request.concat()), refused);
        for method in ["AuthStatus", "UserList", "RoleList"] {
            assert_eq!(ask(method, vec![]), (Code::Ok, String::new()), "{method}");
        }
        assert_eq!(ask("AuthEnable", vec![]).0, Code::Unimplemented);
        let face = one.face.clone();
        let status = one.runtime.block_on(face.auth_status(pb::AuthStatusRequest {})).expect("an answer");
        assert_eq!((status.enabled, status.auth_revision), (false, 1));
        assert_eq!(status.header.map(|header| header.revision), Some(1));
    }
}
