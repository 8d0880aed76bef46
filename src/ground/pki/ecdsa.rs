//! ES256 for [`jsonwebtoken`], by ring, which signs everything else here. The providers that come
//! with `jsonwebtoken` are 29 packages, for algorithms that no cluster uses.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use signature::{Error, Signer, Verifier};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Private::new(algorithm, key)?)),
    verifier_factory: |algorithm, key| Ok(Box::new(Public::new(algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(), // for keys inside of tokens, which are not read here
};

/// Makes ring the process' provider, before the first token is signed or checked. A second call
/// does nothing.
pub(crate) fn install() {
    let _ = PROVIDER.install_default(); // an error says that one is installed already
}

/// Refuses other algorithms than ES256.
fn only_es256(algorithm: &Algorithm) -> Result<()> {
    match algorithm {
        Algorithm::ES256 => Ok(()),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

/// Signs tokens, each signature with a random number.
struct Private(EcdsaKeyPair, SystemRandom);

impl Private {
    fn new(algorithm: &Algorithm, key: &EncodingKey) -> Result<Private> {
        only_es256(algorithm)?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_bytes(), &random);
        Ok(Private(pair.map_err(|_| ErrorKind::InvalidEcdsaKey)?, random))
    }
}

impl Signer<Vec<u8>> for Private {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        let signature = self.0.sign(&self.1, message).map_err(|_| Error::new())?;
        Ok(signature.as_ref().to_vec())
    }
}

impl JwtSigner for Private {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}

/// Verifies tokens with a point of the curve: 0x04, then x and y.
struct Public(UnparsedPublicKey<Vec<u8>>);

impl Public {
    fn new(algorithm: &Algorithm, key: &DecodingKey) -> Result<Public> {
        only_es256(algorithm)?;
        Ok(Public(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.try_get_as_bytes()?.to_vec())))
    }
}

impl Verifier<Vec<u8>> for Public {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        self.0.verify(message, signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for Public {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}
