//! Checks the settings of certificate-bound tokens.

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, HOST};

use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::dpop::DPOP;
use crate::mutual_tls::{CertificateRule, ConfiguredNetwork, MutualTls, MutualTlsRules, Source, Trust, TrustedProxy};

/// Checks all settings and records every error.
pub(super) fn resolve(mutual_tls: &MutualTls, errors: &mut SettingErrors) -> Option<MutualTlsRules> {
    let source = match &mutual_tls.source {
        Source::Connection => CertificateRule::Connection,
        Source::Header { header, proxy } => {
            check_proxy(proxy, errors);
            let setting = format!("certificate header {:?}", header.name);
            let name = HeaderName::try_from(&header.name);
            let name = name.map_err(|_| errors.push(&setting, SettingErrorKind::HeaderName)).ok()?;
            check_reserved(&name, &setting, errors);
            CertificateRule::Header { name, format: header.format, proxy: proxy.clone() }
        }
    };
    Some(MutualTlsRules { source, dpop_scheme: mutual_tls.dpop_scheme })
}

fn check_proxy(proxy: &TrustedProxy, errors: &mut SettingErrors) {
    match &proxy.trust {
        Trust::Networks(networks) => {
            check_networks(networks, errors);
            return;
        }
        Trust::SecretHeader { name, parsed, secret } => {
            let setting = format!("header {name:?} of the trusted proxy");
            match parsed {
                Some(name) => check_reserved(name, &setting, errors),
                None => errors.push(&setting, SettingErrorKind::HeaderName),
            }
            if let Err(error) = secret {
                errors.push(&setting, SettingErrorKind::Secret(*error));
            }
        }
        Trust::Predicate(_) | Trust::AnyPeer => {}
    }
    if proxy.peer_address.is_some() {
        errors.push("trusted proxies", SettingErrorKind::UnusedPeerAddress);
    }
}

fn check_reserved(name: &HeaderName, setting: &str, errors: &mut SettingErrors) {
    if [AUTHORIZATION, COOKIE, DPOP, HOST].contains(name) {
        errors.push(setting, SettingErrorKind::ReservedHeader);
    }
}

fn check_networks(networks: &[ConfiguredNetwork], errors: &mut SettingErrors) {
    if networks.is_empty() {
        errors.push("trusted proxies", SettingErrorKind::Empty);
    }
    for configured in networks {
        if let Err(error) = configured.network {
            errors.push(&format!("trusted proxy {:?}", configured.text), SettingErrorKind::Network(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Secret, SecretError};
    use crate::mutual_tls::{CertificateHeader, NetworkError};

    fn errors(mutual_tls: &MutualTls) -> Vec<(String, SettingErrorKind)> {
        let mut errors = SettingErrors::default();
        let resolved = resolve(mutual_tls, &mut errors);
        let errors = errors.or(resolved).err();
        let errors = errors.iter().flat_map(|error| error.errors());
        errors.map(|error| (error.setting().to_owned(), error.kind().clone())).collect()
    }

    #[test]
    fn accepts_each_source() {
        let networks = TrustedProxy::from_networks(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]);
        for mutual_tls in [
            MutualTls::from_connection().with_bound_tokens_under_dpop_scheme(),
            MutualTls::from_header(CertificateHeader::rfc9440(), networks.clone()),
            MutualTls::from_header(CertificateHeader::xfcc().with_name("X-Certificate"), networks),
            MutualTls::from_header(CertificateHeader::pem("X-Client-Cert"), TrustedProxy::from_predicate(|_| true)),
            MutualTls::from_header(CertificateHeader::der("x"), TrustedProxy::dangerous_trust_any_peer()),
            MutualTls::from_header(
                CertificateHeader::der("x"),
                TrustedProxy::from_secret_header("X-Secret", Secret::from_text("s3cret")),
            ),
            MutualTls::from_header(
                CertificateHeader::der("x"),
                TrustedProxy::from_networks(["127.0.0.1"]).with_peer_address(|_| None),
            ),
        ] {
            assert_eq!(errors(&mutual_tls), [], "{mutual_tls:?}");
        }
    }

    #[test]
    fn reports_all_errors_at_once() {
        let proxy = TrustedProxy::from_networks(["10.0.0.1/8", "proxy", "127.0.0.1"]);
        let mutual_tls = MutualTls::from_header(CertificateHeader::pem("X Client"), proxy);
        let expected = [
            ("trusted proxy \"10.0.0.1/8\"", SettingErrorKind::Network(NetworkError::HostBits)),
            ("trusted proxy \"proxy\"", SettingErrorKind::Network(NetworkError::Malformed)),
            ("certificate header \"X Client\"", SettingErrorKind::HeaderName),
        ];
        assert_eq!(errors(&mutual_tls), expected.map(|(setting, kind)| (setting.to_owned(), kind)));
        let empty = TrustedProxy::from_networks([""; 0]);
        let empty = MutualTls::from_header(CertificateHeader::rfc9440(), empty);
        assert_eq!(errors(&empty), [("trusted proxies".to_owned(), SettingErrorKind::Empty)]);
        let secret = TrustedProxy::from_secret_header("X Secret", Secret::from_text(""));
        let setting = "header \"X Secret\" of the trusted proxy".to_owned();
        let expected =
            [(setting.clone(), SettingErrorKind::HeaderName), (setting, SettingErrorKind::Secret(SecretError::Empty))];
        assert_eq!(errors(&MutualTls::from_header(CertificateHeader::rfc9440(), secret)), expected);
    }

    #[test]
    fn rejects_a_header_that_clients_send() {
        let networks = || TrustedProxy::from_networks(["127.0.0.1"]);
        for name in ["Authorization", "dpop", "Cookie", "host"] {
            let expected = [(format!("certificate header {name:?}"), SettingErrorKind::ReservedHeader)];
            assert_eq!(errors(&MutualTls::from_header(CertificateHeader::pem(name), networks())), expected);
            let proxy = TrustedProxy::from_secret_header(name, Secret::from_text("s3cret"));
            let expected = [(format!("header {name:?} of the trusted proxy"), SettingErrorKind::ReservedHeader)];
            assert_eq!(errors(&MutualTls::from_header(CertificateHeader::rfc9440(), proxy)), expected);
        }
    }

    #[test]
    fn rejects_an_address_of_the_peer_that_nothing_reads() {
        for proxy in [
            TrustedProxy::from_predicate(|_| true),
            TrustedProxy::dangerous_trust_any_peer(),
            TrustedProxy::from_secret_header("X-Secret", Secret::from_text("s3cret")),
        ] {
            let mutual_tls = MutualTls::from_header(CertificateHeader::rfc9440(), proxy.with_peer_address(|_| None));
            let expected = [("trusted proxies".to_owned(), SettingErrorKind::UnusedPeerAddress)];
            assert_eq!(errors(&mutual_tls), expected, "{mutual_tls:?}");
        }
    }
}
