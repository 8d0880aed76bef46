//! Service-account tokens: ES256 JSON web tokens (RFC 7519), signed with the cluster's own key.

use super::ecdsa;
use super::error::Error;
use super::files::{is_there, read, write_private};
use super::keys::read_key;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;

/// The issuer of tokens of Secrets with the type `kubernetes.io/service-account-token`. They have
/// no end and no audience.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// Seconds by which the clocks of two machines may differ, as upstream (go-jose's `DefaultLeeway`).
const LEEWAY: u64 = 60;

/// The key that signs and checks service-account tokens.
pub struct TokenKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// The SHA-256 of the public key in DER, as upstream (`keyIDFromPublicKey`).
    kid: String,
    /// The curve point, x and y, as the key set publishes them.
    point: (String, String),
}

impl TokenKey {
    /// Reads `sa.key` from the directory, or makes it.
    ///
    /// # Errors
    /// `File`: the file cannot be read or written. `Damaged`: it is not a P-256 key. `Certificate`:
    /// no key can be made.
    pub fn load_or_create(dir: &Path) -> Result<TokenKey, Error> {
        let path = dir.join("sa.key");
        let damaged = |cause| Error::Damaged { path: path.clone(), cause };
        let pair = if is_there(&path) {
            read_key(&read(&path)?).map_err(damaged)?
        } else {
            let pair = KeyPair::generate()
                .map_err(|cause| Error::Certificate { subject: "service accounts".into(), cause })?;
            write_private(&path, &pair.serialize_pem())?;
            pair
        };
        ecdsa::install();
        let raw = pair.der_bytes(); // 0x04, then 32 bytes x, then 32 bytes y
        let (x, y) = match raw.len() {
            65 => (URL_SAFE_NO_PAD.encode(&raw[1..33]), URL_SAFE_NO_PAD.encode(&raw[33..])),
            _ => return Err(damaged("not a P-256 key".into())),
        };
        Ok(TokenKey {
            encoding: EncodingKey::from_ec_der(&pair.serialize_der()),
            decoding: DecodingKey::from_ec_components(&x, &y).map_err(|e| damaged(Box::new(e)))?,
            kid: URL_SAFE_NO_PAD.encode(Sha256::digest(pair.subject_public_key_info())),
            point: (x, y),
        })
    }

    /// Signs the claims as they are. As upstream, the header names no type.
    ///
    /// # Errors
    /// `Token`: the library cannot sign.
    pub fn sign(&self, claims: &Value) -> Result<String, Error> {
        let header = Header { typ: None, kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(|e| Error::Token(e.to_string()))
    }

    /// Checks signature, `exp`, `nbf` and `iat`, and returns the claims. The caller judges audience
    /// and subject. Only tokens of [`LEGACY_ISSUER`] may lack `exp`.
    ///
    /// # Errors
    /// `Token`: the token is malformed or signed with another key, it is not valid now, or `exp` is
    /// missing.
    pub fn verify(&self, token: &str) -> Result<Value, Error> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.validate_aud = false;
        rules.validate_nbf = true;
        rules.leeway = LEEWAY;
        rules.required_spec_claims.clear(); // whether `exp` may be missing is decided below
        let claims = jsonwebtoken::decode::<Value>(token, &self.decoding, &rules)
            .map(|data| data.claims)
            .map_err(|error| Error::Token(refusal(error.kind()).into()))?;
        let latest = (clock::now().as_second() as f64) + LEEWAY as f64;
        if claims["iat"].as_f64().is_some_and(|issued| issued > latest) {
            return Err(Error::Token("service account token is issued in the future".into()));
        }
        match claims.get("exp").is_some() || claims["iss"] == LEGACY_ISSUER {
            true => Ok(claims),
            false => Err(Error::Token("the claim exp is missing".into())),
        }
    }

    /// The public half as a JSON web key set: `/openid/v1/jwks`.
    pub fn jwks(&self) -> Value {
        json!({"keys": [{"use": "sig", "kty": "EC", "kid": self.kid, "crv": "P-256", "alg": "ES256", "x": self.point.0, "y": self.point.1}]})
    }
}

/// Returns why a token is not believed: about its times in the words of upstream's
/// `pkg/serviceaccount/claims.go`, about a text that is no ES256 token in those of `bearertoken`,
/// and about a signature in words of its own.
fn refusal(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::ExpiredSignature => "service account token has expired",
        ErrorKind::ImmatureSignature => "service account token is not valid yet",
        ErrorKind::InvalidSignature => "invalid signature: it was not made with this cluster's key",
        _ => "invalid bearer token",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients see these texts in the error of a TokenReview.
    #[test]
    fn a_refusal_says_what_is_wrong_with_the_token() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = TokenKey::load_or_create(dir.path()).unwrap();
        let now = clock::now().as_second();
        let why = |token: &str| match key.verify(token) {
            Err(Error::Token(why)) => why,
            other => panic!("{other:?}"),
        };
        let of = |claims: Value| why(&key.sign(&claims).unwrap());
        assert_eq!(of(json!({"exp": now - 600})), "service account token has expired");
        assert_eq!(of(json!({"nbf": now + 600, "exp": now + 900})), "service account token is not valid yet");
        let future = json!({"iat": now + 600, "exp": now + 900});
        assert_eq!(of(future), "service account token is issued in the future");
        let stranger = TokenKey::load_or_create(other.path()).unwrap();
        assert!(why(&stranger.sign(&json!({"exp": now + 60})).unwrap()).starts_with("invalid signature"));
        for text in ["", "abc", "a.b.c", "e30.e30.e30"] {
            assert_eq!(why(text), "invalid bearer token", "{text}");
        }
    }

    /// The key may lie on a disk that is not mounted now.
    #[test]
    fn a_key_that_is_a_link_to_nothing_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sa.key");
        std::os::unix::fs::symlink(dir.path().join("unplugged"), &path).unwrap();
        let error = TokenKey::load_or_create(dir.path()).err().unwrap();
        assert!(matches!(&error, Error::File { path: named, .. } if *named == path), "{error:?}");
        assert!(path.is_symlink());
    }

    #[test]
    fn the_header_of_a_token_is_upstreams() {
        let dir = tempfile::tempdir().unwrap();
        let key = TokenKey::load_or_create(dir.path()).unwrap();
        let token = key.sign(&json!({"sub": "a"})).unwrap();
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        let pair = read_key(&read(&dir.path().join("sa.key")).unwrap()).unwrap();
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(pair.subject_public_key_info()));
        assert_eq!(header, json!({"alg": "ES256", "kid": kid}));
        assert_eq!(key.jwks()["keys"][0]["kid"], kid);
    }

    #[test]
    fn tokens_of_this_key_pass_and_all_others_do_not() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = TokenKey::load_or_create(dir.path()).unwrap();
        let now = clock::now().as_second();
        let token = key.sign(&json!({"sub": "a", "nbf": now, "exp": now + 60})).unwrap();
        assert_eq!(TokenKey::load_or_create(dir.path()).unwrap().verify(&token).unwrap()["sub"], "a");
        assert!(TokenKey::load_or_create(other.path()).unwrap().verify(&token).is_err());
        let is_good = |claims: Value| key.verify(&key.sign(&claims).unwrap()).is_ok();
        for (seconds, good) in [(-90, false), (-30, true)] {
            assert_eq!(is_good(json!({"nbf": now - 600, "exp": now + seconds})), good, "exp {seconds}");
        }
        for (seconds, good) in [(30, true), (90, false)] {
            assert_eq!(is_good(json!({"nbf": now + seconds, "exp": now + 600})), good, "nbf {seconds}");
            assert_eq!(is_good(json!({"iat": now + seconds, "exp": now + 600})), good, "iat {seconds}");
        }
        let endless = |issuer: &str| key.verify(&key.sign(&json!({"iss": issuer})).unwrap());
        assert!(endless("https://kubernetes.default.svc").is_err());
        assert!(endless(LEGACY_ISSUER).is_ok(), "the token of a Secret has no end");
        let named = |alg: &str| {
            let parts: Vec<&str> = token.split('.').collect();
            let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "JWT"}).to_string());
            [header.as_str(), parts[1], parts[2]].join(".")
        };
        assert!(key.verify(&named("none")).is_err() && key.verify(&named("HS256")).is_err());
        assert!(key.verify(&named("ES384")).is_err(), "refused, and no panic");
        let mut forged = token.clone();
        forged.replace_range(token.len() - 4..token.len() - 2, "AA");
        assert!(key.verify(&forged).is_err() || forged == token);
    }
}
