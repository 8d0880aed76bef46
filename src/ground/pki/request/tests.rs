//! Requests, and the certificates that are made of them.

use crate::ca::params;
use crate::sign::to_pem;
use crate::{Ca, Error, Proof, Request, Subject, client_config, der, server_config, user_of, valid_until};
use jiff::SignedDuration;
use rcgen::{DnType, KeyPair, SigningKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

fn request(name: &str, hosts: &[&str]) -> (String, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut wanted = params(&Subject::server(name, hosts), 1).unwrap();
    wanted.distinguished_name.push(DnType::OrganizationName, "dev");
    wanted.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), "ops"); // a second one
    (wanted.serialize_request(&key).unwrap().pem().unwrap(), key)
}

#[test]
fn a_signed_request_is_a_certificate_with_all_groups_that_tls_takes() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
    let (pem, key) = request("jane", &["jane.example.com", "10.0.0.1"]);
    let read = Request::parse(pem.as_bytes()).unwrap();
    assert_eq!((read.common_name.as_str(), read.organizations.len()), ("jane", 2));
    assert_eq!((read.dns_names.len(), read.addresses.as_slice()), (1, &["10.0.0.1".to_string()][..]));
    let usages = ["digital signature", "client auth", "server auth"].map(String::from);
    let cert = ca.sign(&read, &usages, SignedDuration::from_hours(2)).unwrap();
    let der = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    assert_eq!(user_of(&der), Some(("jane".into(), vec!["dev".into(), "ops".into()])));
    let long = ca.sign(&read, &usages, SignedDuration::from_hours(24 * 365 * 20)).unwrap();
    assert_eq!(valid_until(long.as_bytes()), valid_until(ca.pem().as_bytes()), "not beyond the authority");
    let left = valid_until(cert.as_bytes()).unwrap().duration_since(clock::now()).as_secs();
    assert!((7100..=7200).contains(&left), "{left}");
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    let own = CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap();
    let (_, own) = x509_parser::parse_x509_certificate(&own).unwrap();
    parsed.verify_signature(Some(own.public_key())).unwrap();
    let identity = crate::Identity { cert_pem: cert, key_pem: key.serialize_pem() };
    client_config(Some(&identity), ca.pem(), &[]).unwrap();
    server_config(&identity, ca.pem()).unwrap();
}

/// Encodes a request whose subject has these attributes, the last number of each first: 3 is a
/// common name, 10 an organization.
fn with_subject(subject: &[(u64, &str)], key: &KeyPair) -> Vec<u8> {
    let attribute = |(kind, text): &(u64, &str)| {
        let value = der::tlv(0x0c, text.as_bytes());
        der::tlv(0x31, &der::sequence(&[der::oid(&[2, 5, 4, *kind]), value]))
    };
    let subject: Vec<_> = subject.iter().map(attribute).collect();
    signed(&[der::sequence(&subject)], &[], key)
}

/// Signs a request with this subject and these attributes.
fn signed(subject: &[Vec<u8>], attributes: &[u8], key: &KeyPair) -> Vec<u8> {
    use rcgen::PublicKeyData;
    let info = der::sequence(&[
        der::tlv(0x02, &[0]),
        subject.concat(),
        key.subject_public_key_info(),
        der::tlv(0xa0, attributes),
    ]);
    let signature = key.sign(&info).unwrap();
    let bits: Vec<u8> = [0].into_iter().chain(signature).collect();
    let algorithm = der::sequence(&[der::oid(&[1, 2, 840, 10045, 4, 3, 2])]);
    der::sequence(&[info, algorithm, der::tlv(0x03, &bits)])
}

fn request_pem(der: &[u8]) -> Vec<u8> {
    to_pem(der).replace("CERTIFICATE", "CERTIFICATE REQUEST").into_bytes()
}

#[test]
fn a_request_with_two_common_names_is_judged_by_the_last_and_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
    let key = KeyPair::generate().unwrap();
    let (other, node) = ("system:kube-controller-manager", "system:node:n1");
    let der = with_subject(&[(10, "system:nodes"), (3, other), (3, node)], &key);
    let read = Request::parse(&request_pem(&der)).unwrap();
    assert_eq!(read.common_name, node);
    let error = ca.sign(&read, &[], SignedDuration::from_hours(1)).unwrap_err();
    assert!(error.to_string().contains("more than one common name"), "{error}");
    let der = with_subject(&[(5, "1"), (3, node), (5, "2")], &key);
    let twice = Request::parse(&request_pem(&der)).unwrap();
    let error = ca.sign(&twice, &[], SignedDuration::from_hours(1)).unwrap_err();
    assert!(error.to_string().contains("more than one serial number"), "{error}");
    let der = with_subject(&[(10, "system:nodes"), (3, node)], &key);
    ca.sign(&Request::parse(&request_pem(&der)).unwrap(), &[], SignedDuration::from_hours(1)).unwrap();
    // A certificate that an earlier version signed authenticates as the name that was approved.
    let mut two = params(&Subject::client(other, "system:nodes"), 1).unwrap();
    two.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), node);
    let signed = two.self_signed(&key).unwrap();
    assert_eq!(user_of(signed.der()).unwrap().0, node);
    let nameless = params(&Subject::client("", "system:nodes"), 1).unwrap().self_signed(&key).unwrap();
    assert_eq!(user_of(nameless.der()), None, "an empty name is none");
}

#[test]
fn what_no_approver_has_judged_is_not_certified() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
    let key = KeyPair::generate().unwrap();
    let attribute =
        |oid: &[u64], text: &str| der::sequence(&[der::oid(oid), der::tlv(0x0c, text.as_bytes())]);
    let uid = attribute(&[1, 3, 6, 1, 4, 1, 57683, 2], "7");
    let mail = attribute(&[1, 2, 840, 113549, 1, 9, 1], "ceo@example.com");
    let (jane, dev) = (attribute(&[2, 5, 4, 3], "jane"), attribute(&[2, 5, 4, 10], "dev"));
    let set = |attributes: &[Vec<u8>]| der::tlv(0x31, &attributes.concat());
    let certified = |subject: &[Vec<u8>]| {
        let der = signed(&[der::sequence(subject)], &[], &key);
        let read = Request::parse(&request_pem(&der)).unwrap();
        let cert = ca.sign(&read, &[], SignedDuration::from_hours(1)).unwrap();
        let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&cert).unwrap();
        parsed.subject().as_raw().to_vec()
    };
    let subject = [set(std::slice::from_ref(&dev)), set(&[jane.clone(), uid.clone()]), set(&[mail])];
    assert_eq!(certified(&subject), der::sequence(&[set(&[dev]), set(&[jane])]));
    assert_eq!(certified(&[set(&[uid])]), der::sequence(&[]));
}

#[test]
fn a_key_that_cannot_be_checked_is_named_and_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
    let (pem, _) = request("jane", &[]);
    let mut read = Request::parse(pem.as_bytes()).unwrap();
    assert_eq!(read.proof(), Proof::Good);
    // ecdsa-with-SHA512 instead of ecdsa-with-SHA256.
    let (known, unknown) = ([1, 2, 840, 10045, 4, 3, 2], [1, 2, 840, 10045, 4, 3, 4]);
    let (known, unknown) = (der::oid(&known), der::oid(&unknown));
    let at = read.der.windows(known.len()).rposition(|w| w == known).unwrap();
    read.der[at..at + known.len()].copy_from_slice(&unknown);
    assert_eq!(read.proof(), Proof::Unknown);
    let error = ca.sign(&read, &[], SignedDuration::from_hours(1)).unwrap_err();
    assert!(matches!(&error, Error::Request(why) if why.contains("does not support")), "{error}");
}

#[test]
fn a_signature_for_another_kind_of_key_is_wrong() {
    // Its algorithm says ECDSA.
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let read = Request::parse(&request_pem(&with_subject(&[(3, "jane")], &key))).unwrap();
    assert_eq!(read.proof(), Proof::Wrong);
}

/// `openssl req` asks for a challenge password, which no signer reads.
#[test]
fn an_attribute_that_no_signer_reads_spoils_no_request() {
    let key = KeyPair::generate().unwrap();
    let attribute = |last: u64, values: &[u8]| {
        der::sequence(&[der::oid(&[1, 2, 840, 113549, 1, 9, last]), der::tlv(0x31, values)])
    };
    let names = der::tlv(0x04, &der::sequence(&[der::tlv(0x82, b"a.example")]));
    let names = der::sequence(&[der::sequence(&[der::oid(&[2, 5, 29, 17]), names])]);
    let password = [der::tlv(0x16, b"s@cret"), der::tlv(0x1e, b"\0s"), vec![]];
    for password in password {
        let attributes = [attribute(7, &password), attribute(14, &[]), attribute(14, &names)].concat();
        let der = signed(&[der::sequence(&[])], &attributes, &key);
        let read = Request::parse(&request_pem(&der)).unwrap();
        assert_eq!((read.proof(), read.dns_names), (Proof::Good, vec!["a.example".to_string()]));
    }
    let der = signed(&[der::sequence(&[])], &attribute(14, &[0x05, 0]), &key);
    let why = Request::parse(&request_pem(&der)).unwrap_err();
    assert_eq!(why, "x509: malformed certificate request: the extensions are no sequence");
}

#[test]
fn a_kind_of_key_or_signature_that_go_does_not_know_is_refused() {
    // `openssl req -new -newkey ed448 -nodes -subj /CN=jane`
    let ed448 = "-----BEGIN CERTIFICATE REQUEST-----
MIHZMFsCAQAwDzENMAsGA1UEAwwEamFuZTBDMAUGAytlcQM6AAHMLvSQwzzN+4Xd
HhbzI8XjKxIUOJcjS170xzYvSImv4BSV3HeXhRTG54zy9bF35+fuIRE3etJcAKAA
MAUGAytlcQNzAFDzQU4x5o+X/v7DvkZHEmaCUqiLTYhb0Ro/z1N+LFITy9nagHoE
uJEjjDUBxOZFBqsI57kIUi8pAE5FuKlvYMv5RambGsAmq26+N5v2plM9wucgEnJk
wOP9cfnv3ZK6EiIF9uSjlIxNP3FNE/tOOPIqAA==
-----END CERTIFICATE REQUEST-----
";
    let read = Request::parse(ed448.as_bytes()).unwrap();
    assert_eq!((read.common_name.as_str(), read.proof()), ("jane", Proof::Unsupported));
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
    let error = ca.sign(&read, &[], SignedDuration::from_hours(1)).unwrap_err();
    assert!(matches!(&error, Error::Request(why) if why.contains("does not support")), "{error}");
    // The same with a key of the curve secp256k1.
    let curve = "-----BEGIN CERTIFICATE REQUEST-----
MIHGMG4CAQAwDzENMAsGA1UEAwwEamFuZTBWMBAGByqGSM49AgEGBSuBBAAKA0IA
BIbfk/1rGNnyxiVEQUu2L5Fl5nUIDn85mhajjXJMDnZpK7jxUKB4x4d1fKoBZpDM
IvSzJWO19PhRT070iooj0J2gADAKBggqhkjOPQQDAgNIADBFAiB/v2DXsEnxx+Zx
/6xHdvCdjOHzT6iN22KbCfU+yE4RlgIhAOYmogEEp5CCJkFoQlMLP7j41InbslT/
v8/XmPuKa/xy
-----END CERTIFICATE REQUEST-----
";
    assert_eq!(Request::parse(curve.as_bytes()).unwrap_err(), "x509: unsupported elliptic curve");
    // An RSA key whose algorithm lacks the NULL behind its number.
    let rsa = der::sequence(&[der::oid(&[1, 2, 840, 113549, 1, 1, 1])]);
    let rsa = der::sequence(&[rsa, der::tlv(0x03, &[0, 1])]);
    let info = [der::tlv(0x02, &[0]), der::sequence(&[]), rsa, der::tlv(0xa0, &[])];
    let algorithm = der::sequence(&[der::oid(&[1, 2, 840, 113549, 1, 1, 11]), vec![5, 0]]);
    let der = der::sequence(&[der::sequence(&info), algorithm, der::tlv(0x03, &[0, 1])]);
    let why = Request::parse(&request_pem(&der)).unwrap_err();
    assert_eq!(why, "x509: RSA key missing NULL parameters");
}

#[test]
fn an_rsa_key_that_is_too_small_or_too_large_to_be_checked_is_no_wrong_signature() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
    for (bytes, proof) in [(128, Proof::Unknown), (1025, Proof::Unknown), (256, Proof::Wrong)] {
        let number = [vec![0, 0x80], vec![1; bytes - 1]].concat();
        let key = der::sequence(&[der::tlv(0x02, &number), der::tlv(0x02, &[1, 0, 1])]);
        let bits = [vec![0], key].concat();
        let rsa = der::sequence(&[der::oid(&[1, 2, 840, 113549, 1, 1, 1]), vec![5, 0]]);
        let info = der::sequence(&[
            der::tlv(0x02, &[0]),
            der::sequence(&[]),
            der::sequence(&[rsa, der::tlv(0x03, &bits)]),
            der::tlv(0xa0, &[]),
        ]);
        let algorithm = der::sequence(&[der::oid(&[1, 2, 840, 113549, 1, 1, 11]), vec![5, 0]]);
        let der = der::sequence(&[info, algorithm, der::tlv(0x03, &vec![0; bytes + 1])]);
        let read = Request::parse(&request_pem(&der)).unwrap();
        assert_eq!(read.proof(), proof, "{bytes}");
        let error = ca.sign(&read, &[], SignedDuration::from_hours(1)).unwrap_err().to_string();
        assert_eq!(error.contains("2048 to 8192 bits"), proof == Proof::Unknown, "{error}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_not_dropped() {
    let key = KeyPair::generate().unwrap();
    let names = |names: &[Vec<u8>]| {
        let value = der::tlv(0x04, &der::sequence(names));
        let extension = der::sequence(&[der::oid(&[2, 5, 29, 17]), value]);
        let requested = der::tlv(0x31, &der::sequence(&[extension]));
        let attribute = der::sequence(&[der::oid(&[1, 2, 840, 113549, 1, 9, 14]), requested]);
        request_pem(&signed(&[der::sequence(&[])], &attribute, &key))
    };
    let read =
        Request::parse(&names(&[der::tlv(0x82, b"a.example"), der::tlv(0x87, &[10, 0, 0, 1])])).unwrap();
    assert_eq!((read.dns_names, read.addresses), (vec!["a.example".into()], vec!["10.0.0.1".into()]));
    let mapped = std::net::Ipv4Addr::new(10, 0, 0, 2).to_ipv6_mapped().octets();
    let read = Request::parse(&names(&[der::tlv(0x87, &mapped)])).unwrap();
    assert_eq!(read.addresses, ["10.0.0.2"]);
    for (bad, why) in [
        (names(&[der::tlv(0x87, &[10, 0, 0, 1, 5])]), "x509: cannot parse IP address of length 5"),
        (names(&[der::tlv(0x82, "ä".as_bytes())]), "x509: SAN dNSName is malformed"),
        (names(&[der::tlv(0x81, &[0xff])]), "x509: SAN rfc822Name is malformed"),
        (
            names(&[der::tlv(0x86, b"http://[")]),
            "x509: cannot parse URI \"http://[\": parse \"http://[\": missing ']' in host",
        ),
        (names(&[vec![0x82, 9]]), "x509: invalid subject alternative name"),
        (
            request_pem(&[with_subject(&[(3, "jane")], &key), vec![0]].concat()),
            "x509: malformed certificate request: trailing data",
        ),
    ] {
        assert_eq!(Request::parse(&bad).unwrap_err(), why);
    }
    // Go knows neither, by its tag: an address in parts, and a name without a kind.
    let read = Request::parse(&names(&[der::tlv(0xa7, &[10, 0, 0, 1]), der::tlv(0x0c, b"a")])).unwrap();
    assert_eq!((read.addresses, read.dns_names), (vec![], vec![]));
    let mut latin = with_subject(&[(10, "j\u{1}ne")], &key);
    let at = latin.windows(2).position(|w| w == [b'j', 1]).unwrap();
    latin[at + 1] = 0xe4;
    assert!(Request::parse(&request_pem(&latin)).unwrap_err().contains("neither UTF-8"));
}

/// Go refuses them, and reads no certificate that is made of them.
#[test]
fn a_value_of_another_type_is_no_object_identifier() {
    let key = KeyPair::generate().unwrap();
    let good = with_subject(&[(3, "jane")], &key);
    let parse = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|w| w == from).unwrap();
        let mut bent = good.clone();
        bent[at..at + to.len()].copy_from_slice(to);
        Request::parse(&request_pem(&bent)).map(|read| read.common_name)
    };
    let numbers: [&[u64]; 4] = [
        &[2, 5, 4, 3],
        &[1, 2, 840, 10045, 2, 1],
        &[1, 2, 840, 10045, 3, 1, 7],
        &[1, 2, 840, 10045, 4, 3, 2],
    ];
    for number in numbers.map(der::oid) {
        assert_eq!(parse(&number, &number), Ok("jane".into()));
        let mut open = number.clone();
        *open.last_mut().unwrap() |= 0x80;
        // An ENUMERATED, one of another class, one in parts, one that does not end.
        for bad in [&[0x0a][..], &[0x86], &[0x26], &open] {
            let why = parse(&number, bad).unwrap_err();
            assert!(why.starts_with("x509: "), "{why}");
        }
    }
    assert!(parse(&[3, 66, 0, 4], &[3, 66, 1]).is_err(), "the key ends within a byte");
    let extension = der::sequence(&[der::tlv(0x0a, &[0x55, 29, 17]), der::tlv(0x04, &[0x30, 0])]);
    let requested = der::tlv(0x31, &der::sequence(&[extension]));
    let attribute = der::sequence(&[der::oid(&[1, 2, 840, 113549, 1, 9, 14]), requested]);
    let der = signed(&[der::sequence(&[])], &attribute, &key);
    assert!(Request::parse(&request_pem(&der)).unwrap_err().contains("object identifier"));
}

/// An approver would see jane alone, and another signer, which reads on, the group.
#[test]
fn a_subject_that_is_not_read_to_its_end_is_refused() {
    let key = KeyPair::generate().unwrap();
    let attribute = |number: u64, text: &[u8]| {
        der::tlv(0x31, &der::sequence(&[der::oid(&[2, 5, 4, number]), der::tlv(0x0c, text)]))
    };
    let subject = [attribute(3, b"jane"), der::tlv(0x31, &[]), attribute(10, b"system:masters")];
    let der = signed(&[der::sequence(&subject)], &[], &key);
    let why = Request::parse(&request_pem(&der)).unwrap_err();
    assert_eq!(why, "x509: malformed certificate request: invalid subject");
}

/// The API server would not read a certificate with such a text.
#[test]
fn texts_of_a_subject_are_those_that_go_reads() {
    let key = KeyPair::generate().unwrap();
    let parse = |number: u64, tag: u8, text: &[u8]| {
        let value = der::sequence(&[der::oid(&[2, 5, 4, number]), der::tlv(tag, text)]);
        let subject = der::sequence(&[der::tlv(0x31, &value)]);
        Request::parse(&request_pem(&signed(&[subject], &[], &key))).map(|read| read.common_name)
    };
    assert_eq!(parse(3, 0x13, b"jane (ops)"), Ok("jane (ops)".into()));
    assert_eq!(parse(3, 0x16, b"jane@example.com"), Ok("jane@example.com".into()));
    let other = 54; // by which no request is judged
    assert_eq!(parse(other, 0x02, &[7]), Ok(String::new()));
    for (number, tag, text) in [
        (3, 0x13, &b"jane@example.com"[..]),
        (3, 0x12, b"seven"),
        (3, 0x14, b"jane"),
        (3, 0x02, &[7]),
        (other, 0x0c, &[0xff]),
    ] {
        assert!(parse(number, tag, text).unwrap_err().contains("neither UTF-8"), "{number} {tag:#x}");
    }
}

#[test]
fn only_the_first_block_is_the_request() {
    let (pem, key) = request("jane", &[]);
    let behind = |before: &str| Request::parse(format!("{before}{pem}").as_bytes()).map(|r| r.common_name);
    assert_eq!(behind("a request:\n"), Ok("jane".into()));
    let refused = Err("PEM block type must be CERTIFICATE REQUEST".to_string());
    assert_eq!(behind(&key.serialize_pem()), refused);
    assert_eq!(behind("-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n"), refused);
}

#[test]
fn one_extension_is_requested_once() {
    let key = KeyPair::generate().unwrap();
    let names = |name: &str| {
        let value = der::tlv(0x04, &der::sequence(&[der::tlv(0x82, name.as_bytes())]));
        der::sequence(&[der::oid(&[2, 5, 29, 17]), value])
    };
    let attribute = |extensions: &[Vec<u8>]| {
        let requested = der::tlv(0x31, &der::sequence(extensions));
        der::sequence(&[der::oid(&[1, 2, 840, 113549, 1, 9, 14]), requested])
    };
    let parse = |attributes: &[Vec<u8>]| {
        let der = signed(&[der::sequence(&[])], &attributes.concat(), &key);
        Request::parse(&request_pem(&der)).map(|read| read.dns_names)
    };
    assert_eq!(parse(&[attribute(&[names("a")])]), Ok(vec!["a".into()]));
    for twice in
        [vec![attribute(&[names("a"), names("b")])], vec![attribute(&[names("a")]), attribute(&[names("b")])]]
    {
        assert!(parse(&twice).unwrap_err().contains("duplicate requested extensions"));
    }
}

#[test]
fn alternative_names_are_critical_where_there_is_no_subject() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
    let key = KeyPair::generate().unwrap();
    for (subject, critical) in [(vec![], true), (vec![(3, "jane")], false)] {
        let mut read = Request::parse(&request_pem(&with_subject(&subject, &key))).unwrap();
        read.dns_names.push("jane.example".into());
        let cert = ca.sign(&read, &[], SignedDuration::from_hours(1)).unwrap();
        let der = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(parsed.subject_alternative_name().unwrap().unwrap().critical, critical);
    }
}

#[test]
fn a_request_that_was_tampered_with_is_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
    let (pem, _) = request("jane", &[]);
    let mut read = Request::parse(pem.as_bytes()).unwrap();
    let at = read.der.windows(4).position(|w| w == b"jane").unwrap();
    read.der[at] = b'b';
    let error = ca.sign(&read, &[], SignedDuration::from_hours(1)).unwrap_err();
    assert!(error.to_string().contains("signature"), "{error}");
    assert_eq!(read.proof(), Proof::Wrong);
    assert_eq!(Request::parse(b"hello").unwrap_err(), "PEM block type must be CERTIFICATE REQUEST");
}
