//! The table `[api.mutual_tls]`.

use tower_bearer::mutual_tls::{CertificateHeader, MutualTls, TrustedProxy};

use super::section::Section;

pub(super) fn mutual_tls(mut section: Section) -> MutualTls {
    if section.take::<String>("from").is_some_and(|from| from != "header") {
        section.error("from", "is not \"header\"; this server has no TLS of its own, so a proxy sends the certificate");
    }
    let proxies: Vec<String> = section.required("trusted_proxies").unwrap_or_else(|| vec!["127.0.0.1".to_owned()]);
    let mutual_tls = MutualTls::from_header(header(&mut section), TrustedProxy::from_networks(proxies));
    let is_accepted = section.take("bound_tokens_under_dpop_scheme").unwrap_or(false);
    section.end();
    if is_accepted { mutual_tls.with_bound_tokens_under_dpop_scheme() } else { mutual_tls }
}

fn header(section: &mut Section) -> CertificateHeader {
    let format: Option<String> = section.required("format");
    let is_chain = section.take("chain").unwrap_or(false);
    if is_chain && format.as_deref() != Some("pem") {
        section.error("chain", "is possible only with the format \"pem\"");
    }
    let standard = match format.as_deref() {
        Some("rfc9440") => Some(CertificateHeader::rfc9440()),
        Some("xfcc") => Some(CertificateHeader::xfcc()),
        _ => None,
    };
    if let Some(standard) = standard {
        return section.take::<String>("header").into_iter().fold(standard, CertificateHeader::with_name);
    }
    // Only the other two formats have a name: that of RFC 9440 is the best known.
    let name = section.take("header").unwrap_or_else(|| "Client-Cert".to_owned());
    match format.as_deref() {
        Some("pem") if is_chain => CertificateHeader::pem_chain(name),
        Some("pem") => CertificateHeader::pem(name),
        Some("der") => CertificateHeader::der(name),
        Some("sha256") => CertificateHeader::sha256(name),
        _ => {
            if format.is_some() {
                section.error("format", "is not \"rfc9440\", \"xfcc\", \"pem\", \"der\" or \"sha256\"");
            }
            CertificateHeader::rfc9440()
        }
    }
}
