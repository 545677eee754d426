//! Explains why an API rejects a token: checks one token against the configuration of an API.
//!
//! ```text
//! cargo run --example doctor -- examples/server/server.toml - < examples/server/rejected.jwt
//! cargo run --example doctor -- server.toml eyJhbGciOi...
//! cargo run --example doctor -- server.toml eyJhbGciOi... --host api.brand-a.com
//! cargo run --example doctor -- server.toml eyJhbGciOi... --scope write:orders
//! cargo run --example doctor -- server.toml eyJhbGciOi... --proof eyJ0eXAiOi... --method GET --url https://api.brand-a.com/me
//! cargo run --example doctor -- server.toml eyJhbGciOi... --header "Client-Cert: :MIIB...:" --peer 127.0.0.1
//! ```
//!
//! The configuration is that of `examples/server`. Exit codes: 0 accepted, 1 rejected, 2 the arguments or the configuration
//! are invalid, 3 the issuer's keys, or its answer about the token, are unavailable. If the issuer has introspection, the
//! token is introspected, and the report shows the answer. The key store of the server is neither read nor written. The output
//! has colors on a terminal; `CLICOLOR_FORCE=1` always enables them, and `NO_COLOR` always disables them. Every user of the
//! machine can read a token on the command line: prefer standard input.

#![expect(clippy::print_stderr, reason = "an example prints what it does")]

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::net::IpAddr;
use std::process::ExitCode;

use axum::http::Request;
use axum::http::request::Builder;
use tower_bearer::mutual_tls::PeerAddress;
use tower_bearer::request::RequestHead;
use tower_bearer::{CheckOutcome, Explanation, Finding, RejectionKind, Requirement};

use self::settings::{Settings, Store};

#[allow(dead_code, reason = "the server reads more of it")]
pub(crate) mod settings;

pub(crate) const USAGE: &str =
    "usage: doctor <config.toml> <token, or - for standard input> [--host <host>] [--scope <scope of a route>]
       [--proof <DPoP proof> --method <method> --url <URL of the request>]
       [--header <header with the client's certificate> --peer <address of the proxy>]
such as
  cargo run --example doctor -- examples/server/server.toml - < examples/server/rejected.jwt";

const ACCEPTED: u8 = 0;
const REJECTED: u8 = 1;
const INVALID_CALL: u8 = 2;
const UNAVAILABLE: u8 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).collect()).await {
        Ok(explanation) => {
            let report = report(&explanation, Paint::from_terminal());
            // A reader that closes the pipe early is not an error.
            drop(io::stdout().write_all(report.as_bytes()));
            ExitCode::from(code(&explanation))
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(INVALID_CALL)
        }
    }
}

pub(crate) fn code(explanation: &Explanation) -> u8 {
    match explanation.rejection().map(tower_bearer::Rejection::kind) {
        None => ACCEPTED,
        Some(RejectionKind::KeysUnavailable | RejectionKind::IntrospectionUnavailable) => UNAVAILABLE,
        Some(_) => REJECTED,
    }
}

pub(crate) async fn run(arguments: Vec<OsString>) -> Result<Explanation, Box<dyn Error>> {
    let [config, token, options @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let has = |name: &str| options.iter().step_by(2).any(|option| option == name);
    // Otherwise, nothing reads them.
    if has("--peer") && !has("--header") || (has("--method") || has("--url")) && !(has("--proof") || has("--header")) {
        return Err(USAGE.into());
    }
    let (mut host, mut requirement) = (None, None);
    let (mut proof, mut method, mut url, mut header, mut peer) = (None, None, None, None, None);
    for option in options.chunks(2) {
        match option {
            [name, value] if name == "--host" && host.is_none() => host = Some(value.to_string_lossy()),
            [name, value] if name == "--scope" && requirement.is_none() => {
                requirement = Some(Requirement::try_scope(&value.to_string_lossy())?);
            }
            [name, value] if name == "--proof" && proof.is_none() => proof = Some(value.to_string_lossy()),
            [name, value] if name == "--method" && method.is_none() => method = Some(value.to_string_lossy()),
            [name, value] if name == "--url" && url.is_none() => url = Some(value.to_string_lossy()),
            [name, value] if name == "--header" && header.is_none() => header = Some(value.to_string_lossy()),
            [name, value] if name == "--peer" && peer.is_none() => {
                peer = Some(PeerAddress::from(value.to_string_lossy().parse::<IpAddr>()?));
            }
            _ => return Err(USAGE.into()),
        }
    }
    let Settings { validator, .. } = Settings::read(config.as_ref(), Store::Ignored)?;
    // Bytes that are not UTF-8 are no token; `explain` reports that.
    let token = if token == "-" {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        String::from_utf8_lossy(&bytes).trim().to_owned()
    } else {
        token.to_string_lossy().into_owned()
    };
    let explanation = match (&proof, &header, &host) {
        (None, None, Some(host)) => validator.explain_for_host(&token, host).await,
        (None, None, None) => validator.explain(&token).await,
        _ => {
            let (method, url) = (method.as_deref().unwrap_or("GET"), url.as_deref().unwrap_or("/"));
            let scheme = if proof.is_some() { "DPoP" } else { "Bearer" };
            let request =
                Request::builder().method(method).uri(url).header("authorization", format!("{scheme} {token}"));
            let request = proof.iter().fold(request, |request, proof| request.header("dpop", &**proof));
            let header = header.as_ref().map(|header| header.split_once(':').ok_or(USAGE)).transpose()?;
            let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value.trim()));
            let request = host.iter().fold(request, |request, host| request.header("host", &**host));
            let request = peer.into_iter().fold(request, Builder::extension).body(())?;
            validator.explain_request(&token, &RequestHead::new(&request)).await
        }
    };
    Ok(match requirement {
        Some(requirement) => explanation.with_requirement(&requirement),
        None => explanation,
    })
}

pub(crate) fn report(explanation: &Explanation, paint: Paint) -> String {
    let mut lines = match explanation.rejection() {
        None => format!("{}\n", paint.green("accepted")),
        Some(rejection) => format!("{}: {rejection}\n", paint.red("rejected")),
    };
    for finding in explanation.findings() {
        // Writing to a string does not fail.
        write_finding(&mut lines, finding, paint).unwrap_or_default();
    }
    lines
}

fn write_finding(lines: &mut String, finding: &Finding, paint: Paint) -> std::fmt::Result {
    let (symbol, name) = match finding.outcome() {
        CheckOutcome::Passed => (paint.green("✓"), finding.check().to_owned()),
        CheckOutcome::Failed => (paint.red("✗"), paint.red(finding.check())),
        _ => (paint.gray("–"), paint.gray(finding.check())),
    };
    let failed = finding.outcome() == CheckOutcome::Failed;
    match finding.rejection() {
        Some(rejection) => writeln!(lines, "  {symbol} {name}: {rejection}")?,
        None => writeln!(lines, "  {symbol} {name}")?,
    }
    if let Some(found) = finding.found() {
        writeln!(lines, "      {} {found}", paint.gray("found"))?;
    }
    if let Some(expected) = finding.expected().filter(|_| failed) {
        writeln!(lines, "      {} {expected}", paint.gray("expected"))?;
    }
    if let Some(hint) = finding.hint() {
        writeln!(lines, "      {} {}", paint.yellow("→"), paint.yellow(hint))?;
    }
    Ok(())
}

/// Whether the report has colors.
#[derive(Clone, Copy)]
pub(crate) enum Paint {
    Colors,
    Plain,
}

impl Paint {
    fn from_terminal() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        // https://no-color.org and https://bixense.com/clicolors: `NO_COLOR` applies with any value.
        let forced = variable("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let is_supported = io::stdout().is_terminal() && variable("TERM").is_none_or(|terminal| terminal != "dumb");
        if variable("NO_COLOR").is_none() && (forced || is_supported) { Self::Colors } else { Self::Plain }
    }

    fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn gray(self, text: &str) -> String {
        self.paint("90", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Colors => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}
