//! Whether a password is the one of which a server keeps a verifier, pure. The library that makes verifiers salts
//! each anew, so that two of one password differ.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use sha2::Sha256;

use super::secret::Password;

/// Plays a login through, with the verifier as the server.
pub fn is_of(verifier: &str, password: &Password) -> bool {
    login(verifier, password).is_some()
}

/// `None` where it fails, or the verifier is of another kind.
fn login(verifier: &str, password: &Password) -> Option<()> {
    let (salted, keys) = verifier.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (iterations, salt) = salted.split_once(':')?;
    let (_, server_key) = keys.split_once(':')?;
    let mut client = ScramSha256::new(password.bytes(), ChannelBinding::unsupported());
    let first = String::from_utf8(client.message().to_vec()).ok()?;
    let nonce = first.split_once("r=")?.1;
    let answer = format!("r={nonce}server,s={salt},i={iterations}");
    client.update(answer.as_bytes()).ok()?;
    let last = String::from_utf8(client.message().to_vec()).ok()?;
    let (without_proof, _) = last.rsplit_once(",p=")?;
    let bare = first.get(first.find("n=")?..)?;
    let mut signed = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(server_key).ok()?).ok()?;
    signed.update(format!("{bare},{answer},{without_proof}").as_bytes());
    let signature = STANDARD.encode(signed.finalize().into_bytes());
    client.finish(format!("v={signature}").as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned()).expect("valid")
    }

    #[test]
    fn a_verifier_is_of_one_password() {
        for text in ["secret", "it's, r=1 \\ \"", "pässwörd", "a\u{a0}b"] {
            let verifier = password(text).verifier();
            assert!(is_of(&verifier, &password(text)), "{text}");
            assert!(!is_of(&verifier, &password(&format!("{text}2"))), "{text}");
        }
        for odd in ["", "md5f00", "SCRAM-SHA-256$4096:x$y", "SCRAM-SHA-256$0:QQ==$QQ==:QQ=="] {
            assert!(!is_of(odd, &password("secret")), "{odd}");
        }
    }
}
