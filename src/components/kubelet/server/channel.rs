//! One message of a session over WebSocket: a channel and bytes for it.
//!
//! ```text
//! v5.channel.k8s.io, v4.channel.k8s.io, channel.k8s.io    01 68 69    binary: channel 1, "hi"
//! v4.base64.channel.k8s.io, base64.channel.k8s.io         1aGk=       text: a digit, then base64
//! ```
//!
//! Consoles in a browser ask for base64. Source: `wsstream/conn.go` in apimachinery.

use api::gostr::decode_base64;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;

/// The form of a protocol's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Binary,
    Base64,
}

impl Coding {
    /// Returns the form that this protocol's messages have.
    pub(super) fn of(protocol: &str) -> Coding {
        match protocol {
            "v4.base64.channel.k8s.io" | "base64.channel.k8s.io" => Coding::Base64,
            _ => Coding::Binary,
        }
    }

    /// Makes a message of bytes for a channel.
    pub(super) fn message(self, channel: u8, payload: &[u8]) -> Message {
        match self {
            Coding::Binary => {
                let mut bytes = Vec::with_capacity(payload.len() + 1);
                bytes.push(channel);
                bytes.extend_from_slice(payload);
                Message::Binary(bytes.into())
            }
            Coding::Base64 => {
                let mut text = String::from(char::from(b'0'.wrapping_add(channel)));
                STANDARD.encode_string(payload, &mut text);
                Message::Text(text.into())
            }
        }
    }

    /// Returns the channel and the payload of a message; `None` for one that is empty or none of
    /// base64. Text messages come from browsers and older clients, in both codings.
    pub(super) fn payload(self, message: &Message) -> Option<(u8, Bytes)> {
        let bytes: Bytes = match message {
            Message::Binary(bytes) => bytes.clone(),
            Message::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            _ => return None,
        };
        let (channel, rest) = (*bytes.first()?, bytes.slice(1..));
        match self {
            Coding::Binary => Some((channel, rest)),
            Coding::Base64 => {
                let text = std::str::from_utf8(&rest).ok()?;
                Some((channel.wrapping_sub(b'0'), decode_base64(text).ok()?.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_base64_is_a_digit_and_text() {
        let coding = Coding::of("base64.channel.k8s.io");
        assert_eq!(coding.message(1, b"hi"), Message::Text("1aGk=".into()));
        let lines = Message::Binary(b"0aG\nk=".to_vec().into());
        // Go does not look at the bits behind the last byte.
        for sent in [Message::Text("0aGk=".into()), lines, Message::Text("0aGl=".into())] {
            assert_eq!(coding.payload(&sent), Some((0, Bytes::from_static(b"hi"))), "{sent}");
        }
        for (sent, wanted) in [("4", Some((4, Bytes::new()))), ("0?", None), ("", None)] {
            assert_eq!(coding.payload(&Message::Text(sent.into())), wanted, "{sent}");
        }
        assert_eq!(
            Coding::of("v4.channel.k8s.io").message(1, b"hi"),
            Message::Binary(b"\x01hi".to_vec().into())
        );
    }
}
