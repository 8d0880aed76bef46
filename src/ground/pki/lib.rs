//! # Certificates and tokens
//!
//! ## In Kubernetes
//! kubeadm makes one certificate authority per cluster and a certificate for every component; the
//! common name is the user, the organizations are the groups. Service accounts carry signed JSON
//! web tokens instead.
//! ## How this one works
//! [`Ca`] issues ECDSA P-256 certificates (small, fast to check) and signs the [`Request`]s of
//! others: with ECDSA P-256 and P-384, RSA and Ed25519 keys. [`TokenKey`] signs ES256 tokens. Both
//! live in the cluster's directory with mode 0600. The certificates of components are made at every
//! start, the authority and the token key only once; an authority whose key is missing is not
//! replaced. Its files may be replaced by a pair that another program has made, as kubeadm or
//! OpenSSL. Certificates of others are judged by webpki, and by [`leaf`] where Go believes one that
//! webpki does not, as one of X.509 version 1, one for any purpose, or a server's own authority;
//! [`wildcard`] does the same for names as `*.example`. Chains over other authorities are webpki's
//! alone.
//! [`check_pair`] says in Go's words why a certificate and a key do not belong together, and
//! [`doubt`] why a server is not believed, e.g. that the authority has ended, or that the server's
//! name stands in the common name alone. curl takes that name: [`curl_client`].
//! ## Left out
//! Revocation lists: Kubernetes has none either. Intermediate authorities and RSA keys that are
//! made here (an authority's files may be replaced by such a pair). Requests with P-224 or P-521
//! keys, ECDSA with SHA-1 or SHA-512, or RSA keys of fewer than 2048 or more than 8192 bits, and
//! those with two common names or serial numbers: the API accepts them, and the cluster's own
//! signers give them the condition `Failed`. Requests whose subject has its names as TeletexString
//! or BMPString: the API refuses them. Certificates that are signed with ECDSA and SHA-512: a
//! client that shows one is answered 401. A client or a server with a P-521 key, or an RSA key of
//! fewer than 2048 or more than 8192 bits, fails in the handshake, and so does a server whose
//! authority has such a key, or with no key exchange but P-521's or no cipher suites but those of
//! TLS 1.2 with CBC. Of a chain below an authority that limits its length (`pathlen`) the first
//! four certificates beside the leaf count. A server whose own certificate has critical policies is
//! not believed, nor one below a trusted authority that limits directory names. An intermediate
//! authority is not followed if it limits such names, has critical policies, is for any purpose
//! without naming this one, or stands above a leaf that [`leaf`] alone believes. A server that has
//! another name and an unknown authority is refused for its authority, in Go for its name. A token
//! key of another kind than ECDSA P-256. Renewal in a running cluster: certificates of components
//! last a year, and only the next start makes new ones.
//! ## Read next
//! `apiserver`, which authenticates with both.

#![warn(missing_docs)]

mod alternative_names;
mod authorities;
mod ca;
mod certificate;
mod clients;
mod cluster_client;
mod common_name;
mod der;
mod doubt;
mod ecdsa;
mod error;
mod files;
mod foreign;
mod identity;
mod keys;
mod leaf;
mod name;
mod oids;
mod pair;
mod pem;
mod request;
mod sign;
mod signatures;
mod system;
#[cfg(test)]
mod testing;
mod token;
mod uri;
mod user;
mod wildcard;

pub use ca::{Ca, Subject};
pub use certificate::{check_certificates, valid_until};
pub use clients::{Client, Clients, asking_server_config, mutual_server_config, server_config};
pub use cluster_client::{client_config, server_name};
pub use common_name::curl_client;
pub use doubt::{authority_hint, legacy_name};
pub use error::Error;
pub use files::{remove_unfinished, write_private};
pub use foreign::{Trust, Unusable, foreign_client};
pub use identity::Identity;
pub use pair::check_pair;
pub use request::{Proof, Request};
pub use token::{LEGACY_ISSUER, TokenKey};
pub use user::user_of;

#[cfg(test)]
mod tests {
    use super::ca::params;
    use super::identity::chain;
    use super::*;
    use clock::Timestamp;
    use rcgen::{BasicConstraints, IsCa, KeyPair};
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn an_authority_survives_a_restart_and_its_certificates_name_user_and_groups() {
        let dir = tempfile::tempdir().unwrap();
        let first = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let again = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        assert_eq!(first.pem(), again.pem());
        let id = again.issue(&Subject::client("system:node:n1", "system:nodes")).unwrap();
        let (certs, _) = chain(&id).unwrap();
        assert_eq!(user_of(&certs[0]), Some(("system:node:n1".into(), vec!["system:nodes".into()])));
        let server = again.issue(&Subject::server("kube-apiserver", &["localhost", "127.0.0.1"])).unwrap();
        server_config(&server, first.pem()).unwrap();
        client_config(Some(&id), first.pem(), &["h2"]).unwrap();
    }

    /// Writes the files of an authority that is valid for these days from now.
    fn authority(dir: &Path, from: i64, until: i64) {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&Subject::client("kubernetes", ""), until).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        if from > 0 {
            params.not_before = params.not_after - Duration::from_secs(3600);
        }
        fs::write(dir.join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(dir.join("ca.key"), key.serialize_pem()).unwrap();
    }

    #[test]
    fn nothing_outlives_its_authority_and_one_that_is_not_valid_is_named_with_its_dates() {
        let dir = tempfile::tempdir().unwrap();
        authority(dir.path(), 0, 30);
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let end = valid_until(ca.pem().as_bytes()).unwrap();
        let own = ca.issue(&Subject::client("jane", "dev")).unwrap();
        assert_eq!(valid_until(own.cert_pem.as_bytes()), Some(end));
        for (from, until) in [(0, 0), (30, 31)] {
            authority(dir.path(), from, until);
            let error = Ca::load_or_create(dir.path(), "kubernetes").err().unwrap();
            assert!(matches!(error, Error::Expired { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("ca.crt") && text.contains("is valid from 20"), "{text}");
        }
    }

    /// RFC 5280 names `99991231235959Z` for a certificate without an end.
    #[test]
    fn a_certificate_without_an_end_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let endless = |name: &str| {
            let mut params = params(&Subject::client(name, ""), 1).unwrap();
            params.not_after = rcgen::date_time_ymd(9999, 12, 31) + Duration::from_secs(86_399);
            params
        };
        let key = KeyPair::generate().unwrap();
        let mut own = endless("kubernetes");
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(dir.path().join("ca.crt"), own.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(dir.path().join("ca.key"), key.serialize_pem()).unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let server = ca.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        assert!(valid_until(server.cert_pem.as_bytes()).unwrap() < Timestamp::MAX);
        let (_, clients) = asking_server_config(&server, ca.pem()).unwrap();
        let issuer = rcgen::Issuer::from_params(&own, &key);
        let jane = endless("jane").signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let client = clients.judge(&[jane.der().clone()]).unwrap().unwrap();
        assert_eq!((client.name.as_str(), client.until), ("jane", Timestamp::MAX));
    }

    #[test]
    fn a_certificate_and_a_key_that_are_no_pair_are_named() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&dir, &other] {
            Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        }
        fs::copy(other.path().join("ca.crt"), dir.path().join("ca.crt")).unwrap();
        let error = Ca::load_or_create(dir.path(), "kubernetes").err().unwrap();
        assert!(matches!(&error, Error::Damaged { path, .. } if path.ends_with("ca.crt")), "{error:?}");
    }

    /// An operator reads the reason: `etcdctl --cert server.crt --key peer.key`.
    #[test]
    fn a_key_of_another_certificate_and_a_host_that_is_no_name_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let issue = |name: &str| ca.issue(&Subject::client(name, "")).unwrap();
        let (server, peer) = (issue("server"), issue("peer"));
        let mixed = Identity { key_pem: peer.key_pem, ..server };
        let error = client_config(Some(&mixed), ca.pem(), &[]).unwrap_err();
        assert_eq!(error.to_string(), "tls: private key does not match public key");
        let error = server_name("a..b").unwrap_err();
        assert_eq!(error.to_string(), "\"a..b\" is neither a DNS name nor an IP address");
    }

    #[test]
    fn a_certificate_that_may_not_sign_is_no_authority() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ca = Ca::load_or_create(other.path(), "kubernetes").unwrap();
        let server = ca.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        fs::write(dir.path().join("ca.crt"), &server.cert_pem).unwrap();
        fs::write(dir.path().join("ca.key"), &server.key_pem).unwrap();
        let error = Ca::load_or_create(dir.path(), "kubernetes").err().unwrap();
        assert!(matches!(&error, Error::Damaged { path, .. } if path.ends_with("ca.crt")), "{error:?}");
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("CA:TRUE"), "{cause}");
    }

    /// As in Go, the extended usages of an authority are those of all certificates below it.
    #[test]
    fn an_authority_for_clients_or_servers_alone_is_none_for_a_cluster() {
        use rcgen::ExtendedKeyUsagePurpose::{self, Any, ClientAuth, ServerAuth};
        let load = |usages: &[ExtendedKeyUsagePurpose]| {
            let dir = tempfile::tempdir().unwrap();
            let key = KeyPair::generate().unwrap();
            let mut own = params(&Subject::client("kubernetes", ""), 30).unwrap();
            own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            own.extended_key_usages = usages.to_vec();
            fs::write(dir.path().join("ca.crt"), own.self_signed(&key).unwrap().pem()).unwrap();
            fs::write(dir.path().join("ca.key"), key.serialize_pem()).unwrap();
            Ca::load_or_create(dir.path(), "kubernetes").map(drop)
        };
        let good: [&[ExtendedKeyUsagePurpose]; 3] = [&[], &[Any], &[ClientAuth, ServerAuth]];
        for usages in good {
            load(usages).unwrap();
        }
        for usage in [ClientAuth, ServerAuth] {
            let error = load(&[usage]).unwrap_err();
            assert!(matches!(&error, Error::Damaged { path, .. } if path.ends_with("ca.crt")), "{error:?}");
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert!(cause.contains("extended key usage"), "{cause}");
        }
    }

    /// The usual advice is to keep the key of an authority elsewhere.
    #[test]
    fn an_authority_whose_key_is_away_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        fs::rename(at("ca.key"), at("safe")).unwrap();
        let refused = || Ca::load_or_create(dir.path(), "kubernetes").err().unwrap();
        let error = refused();
        assert!(matches!(&error, Error::KeyMissing { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("ca.crt") && text.contains("ca.key"), "{text}");
        // A link to a disk that is not there now.
        std::os::unix::fs::symlink(at("unplugged"), at("ca.key")).unwrap();
        let error = refused();
        assert!(matches!(&error, Error::File { path, .. } if path.ends_with("ca.key")), "{error:?}");
        assert_eq!(fs::read_to_string(at("ca.crt")).unwrap(), ca.pem());
        fs::rename(at("safe"), at("ca.key")).unwrap();
        assert_eq!(Ca::load_or_create(dir.path(), "kubernetes").unwrap().pem(), ca.pem());
    }

    #[test]
    fn a_first_start_that_ended_half_way_is_gone_through_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("ca.key.new"), "of a start that ended here").unwrap();
        fs::write(at("ca.key.tmp7-0"), "of one that ended in the middle of it").unwrap();
        Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        fs::rename(at("ca.key"), at("ca.key.new")).unwrap(); // it ended after the certificate
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        assert_eq!(Ca::load_or_create(dir.path(), "kubernetes").unwrap().pem(), ca.pem());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "a certificate and its key");
    }

    /// A first start ended half way, then an operator brought an authority, and later kept its key
    /// elsewhere.
    #[test]
    fn the_key_of_an_unfinished_start_does_not_replace_the_authority_of_another() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| dir.path().join(name);
        Ca::load_or_create(other.path(), "kubernetes").unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        fs::copy(other.path().join("ca.key"), at("ca.key.new")).unwrap();
        fs::rename(at("ca.key"), at("safe")).unwrap();
        let error = Ca::load_or_create(dir.path(), "kubernetes").err().unwrap();
        assert!(matches!(&error, Error::KeyMissing { .. }), "{error:?}");
        assert_eq!(fs::read_to_string(at("ca.crt")).unwrap(), ca.pem());
    }

    #[test]
    fn an_authority_behind_a_block_that_was_cut_off_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let whole = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let torn = format!("-----BEGIN CERTIFICATE-----\naGVs\n{}", whole.pem());
        fs::write(dir.path().join("ca.crt"), torn).unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        assert_eq!(valid_until(ca.pem().as_bytes()), valid_until(whole.pem().as_bytes()));
        let server = ca.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let (_, clients) = asking_server_config(&server, ca.pem()).unwrap();
        let jane = ca.issue(&Subject::client("jane", "dev")).unwrap();
        assert_eq!(clients.judge(&chain(&jane).unwrap().0).unwrap().unwrap().name, "jane");
    }

    #[test]
    fn a_damaged_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        fs::write(dir.path().join("ca.key"), "nonsense").unwrap();
        let error = Ca::load_or_create(dir.path(), "kubernetes").err().unwrap().to_string();
        assert!(error.contains("ca.key"), "{error}");
    }
}
