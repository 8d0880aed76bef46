//! Records that show when they were touched: one canonical form of a JSON document, a signature
//! over it, and a chain of hashes over what happened.
//!
//! That makes a record tamper-evident and no more: the owner of the machine owns the key, and can
//! sign what never happened. A teacher who knows the key's fingerprint sees at least which cluster
//! signed.

use super::error::Error;
use super::words::Word;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lang::Lang;
use pki::write_private;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, json};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;

/// `sha256:` and 64 hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{digits}")
}

/// Writes a document in the one form that is signed and hashed: keys sorted by their UTF-16 units,
/// no white space between tokens, numbers without an exponent.
///
/// It differs from RFC 8785 in numbers: there 1e21 and 1e-7 keep their exponents, here they are
/// written out, and an integer beyond 2^53 keeps all of its digits.
pub(crate) fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(&fields[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        // 380.0 and 380 are one number; programs that read and write a record may change the one
        // into the other.
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 1e15 => {
                out.push_str(&(f as i64).to_string())
            }
            Some(f) if n.is_f64() => out.push_str(&f.to_string()),
            _ => out.push_str(&n.to_string()),
        },
        other => out.push_str(&other.to_string()),
    }
}

/// A chain of hashes over records: each head is the hash of the head before it and of the next
/// record's digest. Another record in the same place, or the same records in another order, give
/// another head.
///
/// It covers the records that this process took while the lab was open and not those that the tap
/// had dropped by then, nor those of a restart. Only the head is kept: it shows that two accounts
/// of a sitting differ, and does not tell what happened.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Chain {
    /// How the head was made. 2: over digests as [`digest`] makes them. 1: by a program that left
    /// the objects' bytes out, at least in part.
    #[serde(default = "without_bodies")]
    pub format: u32,
    pub records: u64,
    pub head: String,
}

/// Returns the format of chains that do not name theirs.
fn without_bodies() -> u32 {
    1
}

impl Default for Chain {
    fn default() -> Chain {
        Chain { format: 2, records: 0, head: sha256(b"") }
    }
}

impl Chain {
    /// Adds a record by its digest.
    pub(crate) fn add(&mut self, digest: &str) {
        self.records = self.records.saturating_add(1);
        self.head = sha256(format!("{}\n{digest}", self.head).as_bytes());
    }
}

/// Hashes a record: what it tells, and the SHA-256 of the object that was written.
pub(crate) fn digest(record: &tap::Record) -> String {
    let mut hashed = json!(record);
    if let Some(body) = &record.body {
        hashed["body"] = sha256(body).into();
    }
    sha256(canonical(&hashed).as_bytes())
}

/// What a sealed document is. The seal covers it, so a document of one kind is never taken for one
/// of another: both are in the learner's reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The file of the open lab and of those before.
    Book,
    /// What the store keeps of the book.
    Anchor,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Book => "book",
            Kind::Anchor => "anchor",
        }
    }
}

/// The key with which a cluster signs.
pub(crate) struct Key(Ed25519KeyPair);

impl Key {
    /// Reads `records.key` from the directory, or makes it.
    ///
    /// # Errors
    /// The file cannot be read or written, or is no Ed25519 key in PKCS#8 and base64.
    pub(crate) fn load_or_create(dir: &Path) -> Result<Key, Error> {
        let path = dir.join("records.key");
        let unusable = |why: String| Error::Key { path: path.clone(), why };
        let damaged = |why: String| Error::DamagedKey { path: path.clone(), why };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(damaged(error.to_string())); // not UTF-8
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let fresh = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
                    .map_err(|_| unusable("no randomness".into()))?;
                let text = BASE64.encode(fresh.as_ref());
                write_private(&path, &text).map_err(|e| unusable(cluster::chain(&e)))?;
                text
            }
            Err(error) => return Err(unusable(error.to_string())),
        };
        let document = BASE64.decode(text.trim()).map_err(|e| damaged(e.to_string()))?;
        Ed25519KeyPair::from_pkcs8(&document).map(Key).map_err(|e| damaged(e.to_string()))
    }

    /// Copies the key from one directory to another, where none is yet.
    ///
    /// # Errors
    /// As of [`load_or_create`](Key::load_or_create).
    pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
        let (from, to) = (from.join("records.key"), to.join("records.key"));
        let unusable = |path: &Path, why: String| Error::Key { path: path.into(), why };
        let text = std::fs::read_to_string(&from).map_err(|e| unusable(&from, e.to_string()))?;
        write_private(&to, &text).map_err(|e| unusable(&to, cluster::chain(&e)))
    }

    /// The SHA-256 of the public key, in hexadecimal digits.
    pub(crate) fn fingerprint(&self) -> String {
        sha256(self.0.public_key().as_ref())
    }

    /// Adds `kind` and `seal` to a document of the program's own; the seal is over all the rest of
    /// it.
    pub(crate) fn seal(&self, kind: Kind, mut document: Map<String, Value>) -> Value {
        document.remove("seal");
        document.insert("kind".into(), kind.word().into());
        let seal = self.0.sign(sealed_text(&document).as_bytes());
        document.insert("seal".into(), BASE64.encode(seal.as_ref()).into());
        Value::Object(document)
    }

    /// Returns whether a document is of this kind, and as it was sealed with this key.
    pub(crate) fn is_sealed(&self, kind: Kind, document: &Value) -> bool {
        let Some(mut document) = document.as_object().cloned() else { return false };
        let Some(Value::String(seal)) = document.remove("seal") else { return false };
        let Ok(seal) = BASE64.decode(seal) else { return false };
        let key = UnparsedPublicKey::new(&ED25519, self.0.public_key().as_ref());
        let is_kind = document.get("kind").and_then(Value::as_str) == Some(kind.word());
        is_kind && key.verify(sealed_text(&document).as_bytes(), &seal).is_ok()
    }

    /// Adds `signature` to a record. All of it is signed but the signature's value.
    pub(crate) fn sign(&self, record: &mut Map<String, Value>) {
        let public = BASE64.encode(self.0.public_key().as_ref());
        let mut about = json!({"alg": "Ed25519", "key": self.fingerprint(), "public": public});
        record.insert("signature".into(), about.clone());
        let signature = self.0.sign(canonical(&Value::Object(record.clone())).as_bytes());
        about["value"] = BASE64.encode(signature.as_ref()).into();
        record.insert("signature".into(), about);
    }
}

/// Nothing that is sealed can be taken for a record that is signed.
fn sealed_text(document: &Map<String, Value>) -> String {
    format!("ropewalk: kept\n{}", canonical(&Value::Object(document.clone())))
}

/// Why a record is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is no JSON, or has a key twice; the text says which.
    #[error("this is not a record: {0}")]
    NotARecord(String),
    /// It has no signature, or only a part of one.
    #[error("this is not a record: it has no complete Ed25519 signature")]
    Unsigned,
    /// The signature is of another text.
    #[error("the record was edited after it was signed")]
    Edited,
    /// The public key was replaced, or its fingerprint.
    #[error("the key in the record does not have the fingerprint that the record names")]
    Key,
}

impl Broken {
    /// The reason in a language.
    pub fn say(&self, lang: Lang) -> String {
        match self {
            Broken::NotARecord(why) => lang.say(Word::NotARecord, &[why]),
            Broken::Unsigned => lang.say(Word::Unsigned, &[]),
            Broken::Edited => lang.say(Word::Edited, &[]),
            Broken::Key => lang.say(Word::StrangeKey, &[]),
        }
    }
}

/// Reads a record and checks its signature; answers the record. Key order and white space do not
/// matter.
///
/// # Errors
/// It is no signed record, the key is not the one that the record names, or the signature is not
/// over this text.
pub fn verify(text: &str) -> Result<Value, Broken> {
    let Unique(record) = serde_json::from_str(text).map_err(|e| Broken::NotARecord(e.to_string()))?;
    let signature = &record["signature"];
    if signature["alg"] != "Ed25519" {
        return Err(Broken::Unsigned);
    }
    let bytes = |key: &str| signature[key].as_str().and_then(|t| BASE64.decode(t).ok());
    let (public, value) = bytes("public").zip(bytes("value")).ok_or(Broken::Unsigned)?;
    if signature["key"] != sha256(&public) {
        return Err(Broken::Key);
    }
    let mut signed = record.clone();
    if let Some(signature) = signed["signature"].as_object_mut() {
        signature.remove("value");
    }
    let key = UnparsedPublicKey::new(&ED25519, &public);
    key.verify(canonical(&signed).as_bytes(), &value).map_err(|_| Broken::Edited)?;
    Ok(record)
}

/// A document in which no key stands twice: of two `score`, one program would read the first and
/// another the last.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Unique, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Unique;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Unique, E> {
                Ok(Unique(Value::Null))
            }
            fn visit_bool<E>(self, b: bool) -> Result<Unique, E> {
                Ok(Unique(b.into()))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Unique, E> {
                Ok(Unique(n.into()))
            }
            fn visit_u64<E>(self, n: u64) -> Result<Unique, E> {
                Ok(Unique(n.into()))
            }
            fn visit_f64<E: de::Error>(self, n: f64) -> Result<Unique, E> {
                Number::from_f64(n).map(|n| Unique(n.into())).ok_or_else(|| E::custom("not a number"))
            }
            fn visit_str<E>(self, text: &str) -> Result<Unique, E> {
                Ok(Unique(text.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Unique, A::Error> {
                let mut all = Vec::new();
                while let Some(Unique(item)) = list.next_element()? {
                    all.push(item);
                }
                Ok(Unique(all.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut all = Map::new();
                while let Some((key, Unique(value))) = map.next_entry::<String, Unique>()? {
                    if all.insert(key.clone(), value).is_some() {
                        return Err(de::Error::custom(format!("the key {key:?} stands there twice")));
                    }
                }
                Ok(Unique(all.into()))
            }
        }
        from.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> (Key, Value) {
        let dir = tempfile::tempdir().unwrap();
        let key = Key::load_or_create(dir.path()).unwrap();
        assert_eq!(Key::load_or_create(dir.path()).unwrap().fingerprint(), key.fingerprint());
        let record = json!({"lab": "a", "score": 90, "ok": true, "tasks": [{"id": "x", "at_s": 380.0}, {"id": "y", "at_s": 0.125}]});
        let Value::Object(mut record) = record else { unreachable!() };
        key.sign(&mut record);
        (key, record.into())
    }

    #[test]
    fn a_damaged_key_says_how_another_one_is_made() {
        let dir = tempfile::tempdir().unwrap();
        for content in [&b"no key"[..], b"bm8ga2V5", b"\xff"] {
            std::fs::write(dir.path().join("records.key"), content).unwrap();
            let error = Key::load_or_create(dir.path()).err().unwrap().to_string();
            assert!(error.contains("records.key") && error.contains("move the file away"), "{error}");
        }
    }

    #[test]
    fn an_edited_record_is_refused() {
        let (_, record) = signed();
        assert_eq!(verify(&record.to_string()).unwrap(), record);
        type Edit = fn(&mut Value);
        let edits: [(Edit, Broken); 7] = [
            (|r| r["score"] = 100.into(), Broken::Edited),
            (|r| r["ok"] = "true".into(), Broken::Edited),
            (|r| r["tasks"][1]["at_s"] = 0.126.into(), Broken::Edited),
            (|r| r["tasks"].as_array_mut().unwrap().swap(0, 1), Broken::Edited),
            (|r| r["further"] = 1.into(), Broken::Edited),
            (|r| _ = r.as_object_mut().unwrap().remove("lab"), Broken::Edited),
            (|r| r["signature"]["key"] = "sha256:0".into(), Broken::Key),
        ];
        for (at, (edit, why)) in edits.into_iter().enumerate() {
            let mut forged = record.clone();
            edit(&mut forged);
            assert_eq!(verify(&forged.to_string()), Err(why), "edit {at}");
        }
        // Another cluster's key does not make it this record.
        let (_, other) = signed();
        let mut forged = record.clone();
        forged["signature"]["public"] = other["signature"]["public"].clone();
        forged["signature"]["key"] = other["signature"]["key"].clone();
        assert_eq!(verify(&forged.to_string()), Err(Broken::Edited));
    }

    #[test]
    fn what_is_sealed_is_what_it_was_sealed_as() {
        let (key, _) = signed();
        let Value::Object(fields) = json!({"counter": 3}) else { unreachable!() };
        let anchor = key.seal(Kind::Anchor, fields);
        assert!(key.is_sealed(Kind::Anchor, &anchor) && !key.is_sealed(Kind::Book, &anchor));
        let mut renamed = anchor.clone();
        renamed["kind"] = "book".into();
        assert!(!key.is_sealed(Kind::Book, &renamed) && !key.is_sealed(Kind::Anchor, &renamed));
        let mut silent = anchor;
        silent.as_object_mut().unwrap().remove("kind");
        assert!(!key.is_sealed(Kind::Book, &silent) && !key.is_sealed(Kind::Anchor, &silent));
    }

    #[test]
    fn key_order_white_space_and_the_form_of_numbers_do_not_matter() {
        let (_, record) = signed();
        let mut turned = Map::new();
        for (key, value) in record.as_object().unwrap().iter().rev() {
            turned.insert(key.clone(), value.clone());
        }
        let text = serde_json::to_string_pretty(&Value::Object(turned)).unwrap();
        assert!(text.find("signature") < text.find("score"));
        verify(&text).unwrap();
        verify(&text.replace("380.0", "380")).unwrap();
        verify(&text.replace("\"score\": 90", "\"score\": 9e1")).unwrap();
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let (_, record) = signed();
        let text = record.to_string();
        let twice = text.replacen("{\"lab\"", "{\"score\":100,\"lab\"", 1);
        assert!(matches!(verify(&twice), Err(Broken::NotARecord(why)) if why.contains("twice")));
        assert_eq!(verify("{}"), Err(Broken::Unsigned));
        assert!(matches!(verify("nonsense"), Err(Broken::NotARecord(_))));
    }

    #[test]
    fn why_a_record_is_not_believed_is_told_in_both_languages() {
        let not_json = Broken::NotARecord("x".into());
        for why in [not_json, Broken::Unsigned, Broken::Edited, Broken::Key] {
            let (english, korean) = (why.say(Lang::En), why.say(Lang::Ko));
            assert_eq!(english, why.to_string(), "as programs log it");
            assert!(korean != english && korean.contains("기록"), "{korean}");
        }
    }

    #[test]
    fn a_chain_tells_every_change() {
        let of = |all: &[i32]| {
            let mut chain = Chain::default();
            all.iter().for_each(|n| chain.add(&n.to_string()));
            chain
        };
        assert_eq!(of(&[1, 2, 3]), of(&[1, 2, 3]));
        for other in [&[1, 3, 2][..], &[1, 2], &[1, 2, 3, 3], &[2, 3]] {
            assert_ne!(of(&[1, 2, 3]), of(other));
        }
        assert_eq!(canonical(&json!({"b": [1, "x\n", 0.5], "a": {}})), r#"{"a":{},"b":[1,"x\n",0.5]}"#);
        assert_eq!(canonical(&json!(1e21)), format!("1{}", "0".repeat(21)), "not as RFC 8785 has it");
    }

    /// Two sittings that wrote different images under the same names and at the same times.
    #[test]
    fn a_digest_is_also_of_what_was_written() {
        let wrote = |body: Option<&'static str>| {
            let event = tap::Event::Commit(tap::Write::UPDATED);
            let record = tap::Record::new(event).object("pods", "shop", "web").revision(7);
            digest(&tap::Record { body: body.map(Into::into), ..record })
        };
        assert_eq!(wrote(Some(r#"{"image":"nginx"}"#)), wrote(Some(r#"{"image":"nginx"}"#)));
        let all = [wrote(None), wrote(Some(r#"{"image":"nginx"}"#)), wrote(Some(r#"{"image":"httpd"}"#))];
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
    }

    /// The chain of a lab that an earlier program has opened goes on, and stays one that does not
    /// cover all objects.
    #[test]
    fn a_chain_of_an_earlier_program_says_so() {
        let mut chain: Chain = serde_json::from_value(json!({"records": 3, "head": "sha256:0"})).unwrap();
        chain.add("sha256:1");
        assert_eq!((chain.format, chain.records), (1, 4));
        let own: Chain = serde_json::from_value(json!(Chain::default())).unwrap();
        assert_eq!(own.format, 2);
    }
}
