//! `ErrorText`: the error codes of the responses, with a fixed description for each.

/// An error code and its description. Both use only the characters of RFC 6750 §3: no quote, no backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ErrorText {
    pub(super) code: &'static str,
    pub(super) description: &'static str,
}

pub(super) const INVALID_REQUEST: ErrorText = ErrorText {
    code: "invalid_request",
    description: "the credential or the host is malformed or present more than once",
};

pub(super) const INVALID_TOKEN: ErrorText =
    ErrorText { code: "invalid_token", description: "the access token is malformed, expired, or not valid here" };

pub(super) const INVALID_DPOP_PROOF: ErrorText = ErrorText {
    code: "invalid_dpop_proof",
    description: "the DPoP proof is missing, malformed, expired, used before, or not for this request",
};

/// RFC 9449 §7.1.
pub(super) const INVALID_KEY_BINDING: ErrorText =
    ErrorText { code: "invalid_token", description: "invalid DPoP key binding" };

/// RFC 9449 §9.
pub(super) const USE_DPOP_NONCE: ErrorText =
    ErrorText { code: "use_dpop_nonce", description: "the DPoP proof needs the nonce of this response" };

pub(super) const INSUFFICIENT_SCOPE: ErrorText =
    ErrorText { code: "insufficient_scope", description: "the access token does not allow this" };

pub(super) const INSUFFICIENT_AUTHENTICATION: ErrorText = ErrorText {
    code: "insufficient_user_authentication",
    description: "a stronger or more recent authentication is required",
};

pub(super) const TEMPORARILY_UNAVAILABLE: ErrorText =
    ErrorText { code: "temporarily_unavailable", description: "the access token cannot be checked at the moment" };

pub(super) const NO_CREDENTIAL: &str = "a bearer token is required";

pub(super) const SERVER_ERROR: ErrorText =
    ErrorText { code: "server_error", description: "the request cannot be handled" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_only_characters_of_rfc_6750_in_error_texts() {
        for error in [
            INVALID_REQUEST,
            INVALID_TOKEN,
            INVALID_DPOP_PROOF,
            INVALID_KEY_BINDING,
            USE_DPOP_NONCE,
            INSUFFICIENT_SCOPE,
            INSUFFICIENT_AUTHENTICATION,
            TEMPORARILY_UNAVAILABLE,
            SERVER_ERROR,
        ] {
            let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
            assert!(error.code.bytes().chain(error.description.bytes()).all(plain), "{error:?}");
        }
    }
}
