//! Why is my token refused? Explains one token against the configuration of an API.
//!
//! ```text
//! cargo run --example doctor -- server.toml eyJhbGciOi...
//! cargo run --example doctor -- server.toml - < token.txt
//! cargo run --example doctor -- server.toml eyJhbGciOi... --host api.brand-a.com
//! ```
//!
//! The configuration is that of `examples/server`. Exit codes: 0 accepted, 1 refused, 2 the call or the configuration is
//! wrong, 3 the issuer's keys cannot be had. Colours go to terminals; `CLICOLOR_FORCE=1` sends them anywhere, `NO_COLOR`
//! nowhere.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::io::{self, IsTerminal as _, Read as _};
use std::process::ExitCode;

use tower_bearer::{Explanation, Finding, Outcome, RejectionKind};

use self::settings::Settings;

#[path = "server/settings.rs"]
#[allow(dead_code, reason = "the server reads more of it")]
mod settings;

const REFUSED: u8 = 1;
const WRONG_CALL: u8 = 2;
const NO_KEYS: u8 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(explanation) => {
            print(&explanation, Paint::of_terminal());
            match explanation.rejection().map(tower_bearer::Rejection::kind) {
                None => ExitCode::SUCCESS,
                Some(RejectionKind::KeysUnavailable) => ExitCode::from(NO_KEYS),
                Some(_) => ExitCode::from(REFUSED),
            }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(WRONG_CALL)
        }
    }
}

async fn run() -> Result<Explanation, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (config, token, host) = match arguments[..] {
        [config, token] => (config, token, None),
        [config, token, "--host", host] => (config, token, Some(host)),
        _ => return Err("usage: doctor <config.toml> <token, or - for standard input> [--host <host>]".into()),
    };
    let Settings { validator, .. } = Settings::read(config.as_ref())?;
    let mut read = String::new();
    let token = if token == "-" {
        io::stdin().read_to_string(&mut read)?;
        read.trim()
    } else {
        token
    };
    Ok(match host {
        Some(host) => validator.explain_for(token, host).await,
        None => validator.explain(token).await,
    })
}

fn print(explanation: &Explanation, paint: Paint) {
    match explanation.rejection() {
        None => println!("{}", paint.green("accepted")),
        Some(rejection) => println!("{}: {rejection}", paint.red("refused")),
    }
    for finding in explanation.findings() {
        print_finding(finding, paint);
    }
}

fn print_finding(finding: &Finding, paint: Paint) {
    let (mark, name) = match finding.outcome() {
        Outcome::Passed => (paint.green("✓"), finding.check().to_owned()),
        Outcome::Failed => (paint.red("✗"), paint.red(finding.check())),
        _ => (paint.grey("–"), paint.grey(finding.check())),
    };
    let failed = finding.outcome() == Outcome::Failed;
    match finding.rejection() {
        Some(rejection) => println!("  {mark} {name}: {rejection}"),
        None => println!("  {mark} {name}"),
    }
    if let Some(found) = finding.found() {
        println!("      {} {found}", paint.grey("found"));
    }
    if let Some(expected) = finding.expected().filter(|_| failed) {
        println!("      {} {expected}", paint.grey("expected"));
    }
    if let Some(hint) = finding.hint() {
        println!("      {} {}", paint.yellow("→"), paint.yellow(hint));
    }
}

/// Whether there are colours.
#[derive(Clone, Copy)]
enum Paint {
    Colours,
    Plain,
}

impl Paint {
    fn of_terminal() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        if !set("NO_COLOR") && (set("CLICOLOR_FORCE") || io::stdout().is_terminal()) {
            Self::Colours
        } else {
            Self::Plain
        }
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

    fn grey(self, text: &str) -> String {
        self.paint("90", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}
