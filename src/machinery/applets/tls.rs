//! TLS for `curl` and `wget`: a client that blocks, as those programs do.

use super::stdio::reason;
use clock::Instant;
use pki::{self, Trust, Unusable};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConnection, Error, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Which servers are trusted, and the certificate that the client shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Terms {
    /// Trusts every server: nothing is verified.
    pub insecure: bool,
    /// A file of authorities, in place of the machine's.
    pub authorities: Option<String>,
    /// A file with a certificate, and one with its key; the key may stand behind the certificate.
    pub certificate: Option<String>,
    pub key: Option<String>,
}

pub(crate) type Stream = StreamOwned<ClientConnection, Clocked>;

/// A socket that looks at the clock before each read and write: one read of TLS may be many here,
/// and a server that sends byte by byte must not stretch the limit.
pub(crate) struct Clocked {
    pub tcp: TcpStream,
    /// When everything must be over.
    pub until: Option<Instant>,
    /// The longest wait of one read.
    pub idle: Option<Duration>,
}

impl Clocked {
    fn time_left(&self) -> io::Result<Option<Duration>> {
        match self.until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

fn name_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Clocked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.time_left()?;
        self.tcp.set_read_timeout(left.into_iter().chain(self.idle).min())?;
        self.tcp.read(buffer).map_err(name_timeout)
    }
}

impl Write for Clocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.time_left()?)?;
        self.tcp.write(bytes).map_err(name_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The file of authorities is of no use.
    Authorities(String),
    /// The client's own certificate, or its key, is.
    Certificate {
        file: String,
        why: String,
    },
    /// The server's certificate is not believed.
    Unbelieved(String),
    /// The server's certificate is one for other names.
    OtherName,
    /// What answers does not speak TLS, or not with us.
    Handshake(String),
    Io(io::Error),
}

/// Shakes hands, until `until` at the latest; the limit stays in the stream.
pub(crate) fn connect(
    tcp: TcpStream,
    until: Option<Instant>,
    host: &str,
    terms: &Terms,
) -> Result<Stream, Refusal> {
    let mut stream = Clocked { tcp, until, idle: None };
    let read = |file: &String| std::fs::read(file).map_err(|e| reason(&e));
    let trust = match (&terms.authorities, terms.insecure) {
        (_, true) => Trust::Anyone,
        (Some(file), false) => Trust::These(read(file).map_err(|_| Refusal::Authorities(file.clone()))?),
        (None, false) => Trust::System,
    };
    let of = |file: &String| read(file).map_err(|why| Refusal::Certificate { file: file.clone(), why });
    let identity = match &terms.certificate {
        Some(file) => Some((of(file)?, of(terms.key.as_ref().unwrap_or(file))?)),
        None => None,
    };
    let shown = identity.as_ref().map(|(certificate, key)| (&certificate[..], &key[..]));
    let file = |file: &Option<String>| file.clone().unwrap_or_default();
    let config = pki::curl_client(&trust, shown, &["http/1.1"]).map_err(|e| match e {
        Unusable::Authorities(_) => Refusal::Authorities(file(&terms.authorities)),
        Unusable::Certificate(why) => Refusal::Certificate { file: file(&terms.certificate), why },
        Unusable::Key(why) => Refusal::Certificate {
            file: file(if terms.key.is_some() { &terms.key } else { &terms.certificate }),
            why,
        },
        Unusable::Versions(why) => Refusal::Handshake(why),
    })?;
    let name = host.trim_start_matches('[').trim_end_matches(']').to_string();
    let name = ServerName::try_from(name).map_err(|e| Refusal::Handshake(e.to_string()))?;
    let mut connection = ClientConnection::new(config, name).map_err(refusal)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|e| {
            match e.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
                Some(error) => refusal(error.clone()),
                None => Refusal::Io(e),
            }
        })?;
    }
    Ok(StreamOwned::new(connection, stream))
}

fn refusal(error: Error) -> Refusal {
    use CertificateError as Bad;
    let Error::InvalidCertificate(bad) = &error else { return Refusal::Handshake(error.to_string()) };
    Refusal::Unbelieved(match bad {
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => return Refusal::OtherName,
        legacy if pki::legacy_name(legacy).is_some() => return Refusal::OtherName,
        Bad::UnknownIssuer => "unable to get local issuer certificate".into(),
        Bad::Expired | Bad::ExpiredContext { .. } => "certificate has expired".into(),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "certificate is not yet valid".into(),
        // OpenSSL says so of an authority with the right name, too: its key has another identifier.
        other if pki::authority_hint(other).is_some() => "unable to get local issuer certificate".into(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pki::{Ca, Identity, Subject, server_config};
    use std::net::TcpListener;
    use std::sync::Arc;

    /// A certificate for `CN=localhost` as `openssl req -x509` makes it, without alternative names,
    /// and its key.
    const COMMON_NAME_ALONE: [&str; 2] = [
        "-----BEGIN CERTIFICATE-----\n\
         MIIBSjCB8aADAgECAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWxvY2FsaG9z\n\
         dDAgFw0yMDAxMDEwMDAwMDBaGA8yMTI2MDEwMTAwMDAwMFowFDESMBAGA1UEAwwJ\n\
         bG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+MJXIf/Mqhf/nL3V\n\
         VYzLTWYnYafPqZ/QgDPFzcVqY2J3xl7+oXP6Tt+TfqWxUUHRkYZmdqCmJL9jQYfI\n\
         Wc4FxKMyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUkKvk5fylOJSa1hFG\n\
         v2v3twn9JIcwCgYIKoZIzj0EAwIDSAAwRQIhANl4LqGEm2amWVefyY6x5SXNoyST\n\
         uzqI10Yldm7EwftJAiAmJXSQIcJ050gotdxh/rS79ZBOkCDme89G65LaJEwnoA==\n\
         -----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\n\
         MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgv2p1Lio38XBK2rzk\n\
         eeelH7N144dzmmO2XgiIIA/dyrahRANCAAT4wlch/8yqF/+cvdVVjMtNZidhp8+p\n\
         n9CAM8XNxWpjYnfGXv6hc/pO35N+pbFRQdGRhmZ2oKYkv2NBh8hZzgXE\n\
         -----END PRIVATE KEY-----\n",
    ];

    /// Returns the result of a handshake of a client on these terms, and of the server for
    /// `localhost`.
    fn shake(
        terms: impl FnOnce(&std::path::Path) -> Terms,
        host: &str,
    ) -> (Result<String, Refusal>, Option<usize>) {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "tester").unwrap();
        let server =
            server_config(&ca.issue(&Subject::server("s", &["localhost"])).unwrap(), ca.pem()).unwrap();
        let client = ca.issue(&Subject::client("me", "")).unwrap();
        std::fs::write(dir.path().join("me.pem"), client.cert_pem + &client.key_pem).unwrap();
        shake_with(server, &terms(dir.path()), host)
    }

    /// As [`shake`], with this server.
    fn shake_with(
        server: Arc<rustls::ServerConfig>,
        terms: &Terms,
        host: &str,
    ) -> (Result<String, Refusal>, Option<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(rustls::ServerConnection::new(server).unwrap(), socket);
            stream.write_all(b"hello").ok()?;
            stream.conn.send_close_notify();
            stream.flush().ok()?;
            Some(stream.conn.peer_certificates().map_or(0, <[_]>::len))
        });
        let result = connect(TcpStream::connect(address).unwrap(), None, host, terms).map(|mut stream| {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        (result, serving.join().unwrap())
    }

    #[test]
    fn who_is_believed_is_the_terms_to_say() {
        let ca = |dir: &std::path::Path| Some(dir.join("ca.crt").to_str().unwrap().to_string());
        let named = |dir: &std::path::Path| Terms { authorities: ca(dir), ..Terms::default() };
        assert_eq!(shake(named, "localhost").0.unwrap(), "hello");
        assert!(matches!(shake(named, "elsewhere").0, Err(Refusal::OtherName)));
        assert!(
            matches!(shake(|_| Terms::default(), "localhost").0, Err(Refusal::Unbelieved(why)) if why.contains("local issuer"))
        );
        let anyone = |_: &std::path::Path| Terms { insecure: true, ..Terms::default() };
        assert_eq!(shake(anyone, "127.0.0.1").0.unwrap(), "hello");
        let missing =
            |_: &std::path::Path| Terms { authorities: Some("/nowhere".into()), ..Terms::default() };
        assert!(
            matches!(shake(missing, "localhost").0, Err(Refusal::Authorities(file)) if file == "/nowhere")
        );
    }

    /// As with curl, whose OpenSSL looks at the common name. Go does not.
    #[test]
    fn a_server_may_have_its_name_as_the_common_name() {
        let dir = tempfile::tempdir().unwrap();
        let [cert_pem, key_pem] = COMMON_NAME_ALONE.map(String::from);
        let authorities = dir.path().join("own.crt");
        std::fs::write(&authorities, &cert_pem).unwrap();
        let authorities = Some(authorities.to_str().unwrap().to_string());
        let terms = Terms { authorities, ..Terms::default() };
        let identity = Identity { cert_pem, key_pem };
        let server = server_config(&identity, &identity.cert_pem).unwrap();
        assert_eq!(shake_with(server.clone(), &terms, "localhost").0.unwrap(), "hello");
        assert!(matches!(shake_with(server, &terms, "elsewhere").0, Err(Refusal::OtherName)));
    }

    #[test]
    fn a_server_that_sends_byte_by_byte_does_not_stretch_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let serving = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            // The head of a long record, and then its bytes, as slowly as a client can bear.
            socket.write_all(&[22, 3, 3, 0x40, 0]).unwrap();
            for _ in 0..100 {
                if socket.write_all(&[2]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let until = Some(Instant::now() + Duration::from_millis(300));
        let result = connect(tcp, until, "localhost", &Terms { insecure: true, ..Terms::default() });
        let kind = match result {
            Err(Refusal::Io(e)) => Some(e.kind()),
            _ => None,
        };
        assert_eq!(kind, Some(io::ErrorKind::TimedOut));
        serving.join().unwrap();
    }

    #[test]
    fn a_certificate_and_its_key_may_share_a_file() {
        let shown = |dir: &std::path::Path| Terms {
            insecure: true,
            certificate: Some(dir.join("me.pem").to_str().unwrap().to_string()),
            ..Terms::default()
        };
        let (result, certificates) = shake(shown, "localhost");
        assert_eq!((result.unwrap().as_str(), certificates), ("hello", Some(1)));
        let without_key = |dir: &std::path::Path| Terms {
            insecure: true,
            certificate: Some(dir.join("ca.crt").to_str().unwrap().to_string()),
            ..Terms::default()
        };
        assert!(matches!(shake(without_key, "localhost").0, Err(Refusal::Certificate { .. })));
    }
}
