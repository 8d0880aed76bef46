//! Alerts of TLS: why a server ends a connection.

use rustls::AlertDescription as Alert;

/// Returns Go's words for the alert with which a server has ended a connection, if `error` is one.
/// Source: `alertText` in Go's crypto/tls.
///
/// Example: a server that insists on a client certificate ends a connection without one with
/// `certificate required`.
pub(super) fn text_of(error: &rustls::Error) -> Option<String> {
    let rustls::Error::AlertReceived(alert) = error else { return None };
    let words = match alert {
        Alert::CloseNotify => "close notify",
        Alert::UnexpectedMessage => "unexpected message",
        Alert::BadRecordMac => "bad record MAC",
        Alert::DecryptionFailed => "decryption failed",
        Alert::RecordOverflow => "record overflow",
        Alert::DecompressionFailure => "decompression failure",
        Alert::HandshakeFailure => "handshake failure",
        Alert::BadCertificate => "bad certificate",
        Alert::UnsupportedCertificate => "unsupported certificate",
        Alert::CertificateRevoked => "revoked certificate",
        Alert::CertificateExpired => "expired certificate",
        Alert::CertificateUnknown => "unknown certificate",
        Alert::IllegalParameter => "illegal parameter",
        Alert::UnknownCA => "unknown certificate authority",
        Alert::AccessDenied => "access denied",
        Alert::DecodeError => "error decoding message",
        Alert::DecryptError => "error decrypting message",
        Alert::ExportRestriction => "export restriction",
        Alert::ProtocolVersion => "protocol version not supported",
        Alert::InsufficientSecurity => "insufficient security level",
        Alert::InternalError => "internal error",
        Alert::InappropriateFallback => "inappropriate fallback",
        Alert::UserCanceled => "user canceled",
        Alert::NoRenegotiation => "no renegotiation",
        Alert::MissingExtension => "missing extension",
        Alert::UnsupportedExtension => "unsupported extension",
        Alert::CertificateUnobtainable => "certificate unobtainable",
        Alert::UnrecognisedName => "unrecognized name",
        Alert::BadCertificateStatusResponse => "bad certificate status response",
        Alert::BadCertificateHashValue => "bad certificate hash value",
        Alert::UnknownPSKIdentity => "unknown PSK identity",
        Alert::CertificateRequired => "certificate required",
        Alert::NoApplicationProtocol => "no application protocol",
        Alert::EncryptedClientHelloRequired => "encrypted client hello required",
        other => return Some(format!("remote error: tls: alert({})", u8::from(*other))),
    };
    Some(format!("remote error: tls: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_of_the_server_is_reported_in_gos_words() {
        let of = |alert| text_of(&rustls::Error::AlertReceived(alert));
        assert_eq!(of(Alert::HandshakeFailure).as_deref(), Some("remote error: tls: handshake failure"));
        assert_eq!(
            of(Alert::CertificateRequired).as_deref(),
            Some("remote error: tls: certificate required")
        );
        assert_eq!(of(Alert::Unknown(200)).as_deref(), Some("remote error: tls: alert(200)"));
        assert_eq!(text_of(&rustls::Error::DecryptError), None, "that is our own");
    }
}
