//! Headers that say who the user is.

use super::error::Error;
use api::gostr::quote;
use http::{HeaderName, HeaderValue};

/// Makes a header that says who the user is, or as whom the user acts.
///
/// # Errors
/// [`Error::Transport`]: it cannot be sent. Without it the request would be another user's, so it
/// must not be left out.
pub fn identity(name: &str, text: &str) -> Result<(HeaderName, HeaderValue), Error> {
    let Ok(header) = HeaderName::try_from(name) else {
        return Err(Error::Transport(format!("net/http: invalid header field name {}", quote(name))));
    };
    // Names may have letters of any script: the bytes are sent as they are.
    match HeaderValue::from_bytes(text.as_bytes()) {
        Ok(value) => Ok((header, value)),
        Err(_) => Err(Error::Transport(format!("net/http: invalid header field value for {}", quote(name)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_acts_is_never_left_out() {
        let (_, value) = identity("Impersonate-User", "김철수").unwrap();
        assert_eq!(value.as_bytes(), "김철수".as_bytes());
        let message = identity("Impersonate-User", "a\nb").unwrap_err().to_string();
        let field = "net/http: invalid header field value for \"Impersonate-User\"";
        assert_eq!(message, format!("Unable to connect to the server: {field}"));
        assert!(identity("Impersonate-Extra-example.org%2Fa%20b%25", "x").is_ok());
    }
}
