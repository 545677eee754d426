//! Checks the settings of certificate-bound tokens.

use http::HeaderName;

use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::mutual_tls::{CertificateRule, MutualTls, MutualTlsRules, Source, Trust, TrustedProxy};

/// Checks all settings and records every error.
pub(super) fn resolve(mutual_tls: &MutualTls, errors: &mut SettingErrors) -> Option<MutualTlsRules> {
    let source = match &mutual_tls.source {
        Source::Connection => CertificateRule::Connection,
        Source::Header { header, proxy } => {
            check_proxy(proxy, errors);
            let setting = format!("certificate header {:?}", header.name);
            let name = HeaderName::try_from(&header.name);
            let name = name.map_err(|_| errors.push(&setting, SettingErrorKind::HeaderName)).ok()?;
            CertificateRule::Header { name, format: header.format, proxy: proxy.clone() }
        }
    };
    Some(MutualTlsRules { source, dpop_scheme: mutual_tls.dpop_scheme })
}

fn check_proxy(proxy: &TrustedProxy, errors: &mut SettingErrors) {
    let Trust::Networks { networks, .. } = &proxy.0 else { return };
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
    }
}
