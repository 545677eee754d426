use base64::prelude::BASE64_URL_SAFE;
use proptest::prelude::*;

use super::*;
use crate::mutual_tls::error::CertificateHeaderError as E;

type Read = Result<Option<CertificateThumbprint>, E>;

/// A certificate in form only: the hash of its bytes is all that matters.
fn certificate(serial: u8) -> Vec<u8> {
    // The base64 text of these bytes contains `+`, `/` and padding.
    let part = [0x30, 4, 2, 2, serial, 0xfb];
    let signature = [3, 10, 0, 0xff, 0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff, 0xff, 0xfe];
    let content = [&part[..], &part, &signature].concat();
    let length = u8::try_from(content.len()).expect("short");
    [&[0x30, length], &content[..]].concat()
}

fn hash(serial: u8) -> CertificateThumbprint {
    ClientCertificate::from_der(&certificate(serial)).thumbprint()
}

fn base64(serial: u8) -> String {
    STANDARD.encode(certificate(serial))
}

fn hex(serial: u8) -> String {
    hash(serial).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pem(serial: u8) -> String {
    let text = base64(serial);
    let (first, second) = text.split_at(20);
    format!("-----BEGIN CERTIFICATE-----\n{first}\n{second}\n-----END CERTIFICATE-----\n")
}

/// Encodes as nginx and ALB do, which leave `+`, `/` and `=` as they are.
fn escaped(text: &str) -> String {
    text.replace(' ', "%20").replace('\r', "%0D").replace('\n', "%0A")
}

fn read(header: &CertificateHeader, field: impl AsRef<[u8]>) -> Read {
    header.format.read(field.as_ref())
}

fn pem_header() -> CertificateHeader {
    CertificateHeader::pem("x")
}

#[test]
fn the_fixture_has_every_character_that_formats_treat_differently() {
    let text = base64(1);
    assert!(text.contains('+') && text.contains('/') && text.ends_with('='), "{text}");
    assert!(keys::is_certificate(&certificate(1)));
}

#[test]
fn an_absent_certificate_is_none_in_every_format() {
    let formats = [
        CertificateHeader::rfc9440(),
        CertificateHeader::xfcc(),
        pem_header(),
        CertificateHeader::pem_chain("x"),
        CertificateHeader::der("x"),
        CertificateHeader::sha256("x"),
    ];
    for header in formats {
        for field in ["", " ", "\t "] {
            assert_eq!(read(&header, field), Ok(None), "{header:?}");
        }
        assert_eq!(read(&header, "A".repeat(64 * 1024 + 1)), Err(E::TooLong), "{header:?}");
        assert!(read(&header, b"\xff\xfe").is_err(), "{header:?}");
    }
}

#[test]
fn reads_a_byte_sequence() {
    let header = CertificateHeader::rfc9440();
    let text = base64(1);
    assert_eq!(read(&header, format!(":{text}:")), Ok(Some(hash(1))));
    assert_eq!(read(&header, format!(" :{text}:\t")), Ok(Some(hash(1))));
    assert_eq!(read(&header, "::"), Ok(None));
    // The last two bits of `4` are zero, those of `5` are not.
    let pad_bits = format!("{}5=", text.strip_suffix("4=").expect("the fixture"));
    for (field, error) in [
        (text.clone(), E::Encoding),
        (":".to_owned(), E::Encoding),
        (format!(":{text}"), E::Encoding),
        (format!("{text}:"), E::Encoding),
        (format!("\"{text}\""), E::Encoding),
        (format!(":{text}:;a=1"), E::Encoding),
        (format!(":{text}:, :{text}:"), E::List),
        (format!(":{text},{text}:"), E::List),
        (format!(":{}:", BASE64_URL_SAFE.encode(certificate(1))), E::Encoding),
        (format!(":{}:", text.trim_end_matches('=')), E::Encoding),
        (format!(":{text}=:"), E::Encoding),
        (format!(":{pad_bits}:"), E::Encoding),
        (format!(": {text}:"), E::Encoding),
        (format!(":{}:", STANDARD.encode("no certificate")), E::Der),
        (format!(":{}:", STANDARD.encode([certificate(1), certificate(2)].concat())), E::Der),
        (format!(":{}:", STANDARD.encode(pem(1))), E::Der),
    ] {
        assert_eq!(read(&header, &field), Err(error), "{field}");
    }
}

#[test]
fn reads_base64_without_colons() {
    let header = CertificateHeader::der("x");
    let text = base64(1);
    assert_eq!(read(&header, &text), Ok(Some(hash(1))));
    for (field, error) in [
        (format!("{text},{}", base64(2)), E::List),
        (format!("{text}, {}", base64(2)), E::List),
        (format!(":{text}:"), E::Encoding),
        (text.replace('+', "%2B"), E::Encoding),
        (format!("{text}="), E::Encoding),
        (text.trim_end_matches('=').to_owned(), E::Encoding),
        ("AAAA".to_owned(), E::Der),
    ] {
        assert_eq!(read(&header, &field), Err(error), "{field}");
    }
}

#[test]
fn reads_a_hash() {
    let header = CertificateHeader::sha256("x");
    let text = hex(1);
    assert_eq!(read(&header, &text), Ok(Some(hash(1))));
    assert_eq!(read(&header, text.to_uppercase()), Ok(Some(hash(1))));
    for (field, error) in [
        (text[1..].to_owned(), E::Encoding),
        (text[2..].to_owned(), E::Encoding),
        (format!("{text}00"), E::Encoding),
        (format!("g{}", &text[1..]), E::Encoding),
        (format!("+{}", &text[1..]), E::Encoding),
        (format!("{text},{text}"), E::List),
        (format!("sha256:{text}"), E::Encoding),
        (
            text.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect::<Vec<_>>().join(":"),
            E::Encoding,
        ),
    ] {
        assert_eq!(read(&header, &field), Err(error), "{field}");
    }
}

#[test]
fn reads_one_escaped_certificate() {
    let header = pem_header();
    let text = pem(1);
    for good in [
        escaped(&text),
        escaped(text.trim_end()),
        escaped(&text.replace('\n', "\r\n")),
        escaped(&text).replace('+', "%2B").replace('=', "%3d").replace('/', "%2f"),
        text.replace('\n', "%0a"),
        escaped(&text) + "%0A",
    ] {
        assert_eq!(read(&header, &good), Ok(Some(hash(1))), "{good}");
    }
    let certificate_and = |after: &str| escaped(&format!("{text}{after}"));
    for (field, error) in [
        (certificate_and(&pem(2)), E::List),
        (certificate_and("x"), E::Pem),
        (certificate_and(" "), E::Pem),
        (escaped(&format!("x{text}")), E::Pem),
        (escaped(&format!("\n{text}")), E::Pem),
        (escaped(&text.replace("CERTIFICATE", "PRIVATE KEY")), E::Pem),
        (escaped(&text.replace("BEGIN CERTIFICATE", "BEGIN TRUSTED CERTIFICATE")), E::Pem),
        (escaped(&text.replace("END CERTIFICATE", "END PRIVATE KEY")), E::Pem),
        (escaped(&text.replace('\n', " ")), E::Pem),
        (escaped(&text.replace('+', " ")), E::Pem),
        (escaped(&text).replace("%0A", "%0"), E::Encoding),
        (escaped(&text).replace("%0A", "%GG"), E::Encoding),
        (escaped(&text) + "%", E::Encoding),
        (escaped(&text) + "%ff", E::Pem),
        (base64(1), E::Pem),
        (escaped("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), E::Der),
        (format!("%2525{}", escaped(&text)), E::Pem),
    ] {
        assert_eq!(read(&header, &field), Err(error), "{field}");
    }
}

#[test]
fn reads_the_first_certificate_of_a_chain() {
    let header = CertificateHeader::pem_chain("x");
    assert_eq!(read(&header, escaped(&pem(1))), Ok(Some(hash(1))));
    assert_eq!(read(&header, escaped(&(pem(1) + &pem(2) + &pem(3)))), Ok(Some(hash(1))));
    for after in ["x", "-----BEGIN PRIVATE KEY-----", "-----BEGIN CERTIFICATE-----\n"] {
        assert_eq!(read(&header, escaped(&(pem(1) + after))), Err(E::Pem), "{after}");
    }
}

#[test]
fn reads_one_element_of_envoy() {
    let header = CertificateHeader::xfcc();
    let (digest, text) = (hex(1), escaped(&pem(1)));
    for good in [
        format!("Hash={digest}"),
        format!("By=spiffe://a.test/server;Hash={digest};Subject=\"CN=a, O=b; C=c\";URI=spiffe://a.test/client"),
        format!("Hash={};Subject=\"\"", digest.to_uppercase()),
        format!("Hash=\"{digest}\""),
        format!("hash={digest};DNS=a.test;DNS=b.test"),
        format!("Subject=\"CN=\\\"a\\\", O=x\\\\\";HASH={digest}"),
        format!("Cert=\"{text}\""),
        format!("Hash={digest};Cert=\"{text}\";Chain=\"{text}{text}\""),
        format!("Hash={digest};URI=https://a.test/?b=c"),
        format!("Hash={digest};Unknown="),
        format!("Hash={digest};X-Unknown_1.2=a"),
        format!("X-Unknown=a;Hash={digest}"),
        format!("X-Unknown=\"a;b\";Hash={digest}"),
        // The certificate of the proxy is before all names, so a name in quotes cannot hide it.
        format!("By=a;Hash={digest};Subject=\"CN=a;Hash={}\"", hex(2)),
        format!("Hash={digest};URI=a;Subject=\"CN=a,Cert=b\""),
    ] {
        assert_eq!(read(&header, &good), Ok(Some(hash(1))), "{good}");
    }
    for none in ["By=spiffe://a.test/server", "Subject=\"CN=a\";URI=b", "Chain=\"x\"", "Subject=\"Hash=1;b,c\""] {
        assert_eq!(read(&header, none), Ok(None), "{none}");
    }
}

#[test]
fn rejects_every_element_that_could_be_read_in_two_ways() {
    let header = CertificateHeader::xfcc();
    let (digest, other, text) = (hex(1), hex(2), escaped(&pem(1)));
    for (field, error) in [
        (format!("Hash={digest},Hash={digest}"), E::List),
        (format!("By=a;Hash={digest}, By=b;Hash={other}"), E::List),
        (format!("Hash={digest},"), E::List),
        (format!(",Hash={digest}"), E::Xfcc),
        (",".to_owned(), E::Xfcc),
        (";".to_owned(), E::Xfcc),
        (format!("Hash={digest};"), E::Xfcc),
        (format!("Hash={digest};;By=a"), E::Xfcc),
        (format!(";Hash={digest}"), E::Xfcc),
        (format!("Hash={digest};Hash={digest}"), E::Xfcc),
        (format!("Hash={digest};hash={other}"), E::Xfcc),
        // A name in the certificate that contains separators, which Envoy writes without quotes.
        (format!("Hash={digest};URI=a;Hash={other}"), E::Xfcc),
        (format!("Hash={digest};URI=a,Hash={other}"), E::List),
        (format!("Hash={digest};DNS=\"a\";Cert=\"{}\"", escaped(&pem(2))), E::Contradiction),
        (format!("Cert=\"{text}\";Cert=\"{text}\""), E::Xfcc),
        (format!("Hash={digest};Cert=\"x\""), E::Pem),
        (format!("Hash={digest};Cert="), E::Pem),
        (format!("Hash={digest};Cert=\"{text}{text}\""), E::List),
        (format!("Hash={other};Cert=\"{text}\""), E::Contradiction),
        (format!("Cert=\"{text}\";Hash="), E::Xfcc),
        (format!("Hash={}", &digest[1..]), E::Xfcc),
        (format!("Hash=\"{digest}"), E::Xfcc),
        (format!("Hash=\"{digest}\"x"), E::Xfcc),
        (format!("Hash=\"{digest}\\\""), E::Xfcc),
        (format!("Hash= {digest}"), E::Xfcc),
        (format!("Hash ={digest}"), E::Xfcc),
        (format!("Subject=a\"b;Hash={digest}"), E::Xfcc),
        (format!("Subject=\"a\"b\";Hash={digest}"), E::Xfcc),
        (format!("={digest}"), E::Xfcc),
        (format!("a\"b=c;Hash={digest}"), E::Xfcc),
        (format!("URI=a;b\"c=d;Hash={digest}"), E::Xfcc),
        (format!("X Unknown=a;Hash={digest}"), E::Xfcc),
        // Two names in the certificate of the client, without quotes, with the certificate of the proxy between them.
        (format!("URI=a;Hash={other};Z=\";Hash={digest};DNS=\";A=b"), E::Xfcc),
        (format!("URI=\";Hash={digest};DNS=\";Hash={other}"), E::Xfcc),
        (format!("URI=\",hash={digest};DNS=\";Hash={other}"), E::Xfcc),
        (format!("URI=a;Hash={other};Z=\";Cert=\\\"{text}\\\";DNS=\";A=b"), E::Xfcc),
        ("Subject=\"Hash=1;Cert=2,3\"".to_owned(), E::Xfcc),
        (digest.clone(), E::Xfcc),
    ] {
        assert_eq!(read(&header, &field), Err(error), "{field}");
    }
}

/// Text with the characters that separate the parts of a header.
const NAME: &str = "[a-z;,=\"\\\\ ]{0,8}";

proptest! {
    /// No bytes cause a panic, and a header with one byte changed never has the certificate of another client.
    #[test]
    fn a_changed_header_is_never_another_certificate(
        format in 0..6_usize, at in any::<prop::sample::Index>(), byte in any::<u8>(), serial in any::<u8>(),
    ) {
        let good = [
            (CertificateHeader::rfc9440(), format!(":{}:", base64(1))),
            (CertificateHeader::der("x"), base64(1)),
            (CertificateHeader::sha256("x"), hex(1)),
            (pem_header(), escaped(&pem(1))),
            (CertificateHeader::xfcc(), format!("By=a;Hash={};Subject=\"CN=b\"", hex(1))),
            (CertificateHeader::xfcc(), format!("Hash={};Cert=\"{}\"", hex(1), escaped(&pem(1)))),
        ];
        let (header, field) = &good[format];
        let mut field = field.clone().into_bytes();
        let at = at.index(field.len());
        field[at] = byte;
        if let Ok(Some(found)) = read(header, &field) {
            prop_assert!(serial == 1 || found != hash(serial), "{:?}", String::from_utf8_lossy(&field));
        }
    }

    #[test]
    fn no_bytes_cause_a_panic(format in 0..6_usize, field in prop::collection::vec(any::<u8>(), 0..200)) {
        let headers = [
            CertificateHeader::rfc9440(), CertificateHeader::der("x"), CertificateHeader::sha256("x"), pem_header(),
            CertificateHeader::pem_chain("x"), CertificateHeader::xfcc(),
        ];
        let _result = read(&headers[format], &field);
    }

    /// Two names in a certificate, around the `Hash` of the proxy, cannot replace it.
    #[test]
    fn names_around_the_hash_cannot_replace_it(before in NAME, after in NAME, key in "[A-Za-z-]{1,3}") {
        let (real, forged) = (hex(1), hex(2));
        for field in [
            format!("URI={before};Hash={real};DNS={after}"),
            format!("URI={before};Hash={forged};{key}=\"{after};Hash={real};DNS={before}\";{key}=b"),
            format!("URI=\"{before};Hash={real};DNS=\"{after};Hash={forged}"),
            format!("URI={before};Hash={forged};{key}=\";By={after};Hash={real};DNS=\""),
        ] {
            let found = read(&CertificateHeader::xfcc(), &field);
            prop_assert!(!matches!(found, Ok(Some(found)) if found == hash(2)), "{field}: {found:?}");
        }
    }

    /// A name in a certificate cannot add a `Hash` to an element, whatever its characters are.
    #[test]
    fn a_name_in_a_certificate_cannot_replace_the_hash(name in "[ -~]{0,60}", attack in any::<bool>()) {
        let name = if attack { format!("{name};Hash={};{name}", hex(2)) } else { name };
        let field = format!("By=a;Hash={};Subject=\"CN=b\";URI={name}", hex(1));
        let found = read(&CertificateHeader::xfcc(), &field);
        prop_assert!(found.is_err() || found == Ok(Some(hash(1))), "{field}: {found:?}");
    }
}
