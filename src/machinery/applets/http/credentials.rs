//! Who the user is, as a header tells it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Returns the value of `Authorization` for `user:password` (RFC 7617). Without a password there is
/// a colon all the same.
pub(crate) fn basic_credentials(user: &str) -> String {
    let colon = if user.contains(':') { "" } else { ":" };
    format!("Basic {}", STANDARD.encode(format!("{user}{colon}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_a_password_has_a_colon() {
        assert_eq!(basic_credentials("u"), "Basic dTo=");
        assert_eq!(basic_credentials("u:"), "Basic dTo=");
        assert_eq!(basic_credentials("u:p"), "Basic dTpw");
    }
}
