//! A table of the file. Its settings are read one by one, so that an error in one hides no other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// One table and its name in the file. Settings that were read are removed from `left`.
pub(super) struct Section {
    name: String,
    left: Table,
    known: Vec<&'static str>,
    errors: SettingErrors,
}

impl Section {
    /// Returns the section of the root table.
    pub(super) fn root(file: Table, errors: &SettingErrors) -> Self {
        Self::named(String::new(), file, errors)
    }

    fn named(name: String, left: Table, errors: &SettingErrors) -> Self {
        Self { name, left, known: Vec::new(), errors: errors.clone() }
    }

    /// Reads an optional setting.
    pub(super) fn take<T: ValueType>(&mut self, name: &'static str) -> Option<T> {
        self.has(name);
        // The parser error is dropped: it contains the value, which may be a secret.
        let read = T::deserialize(self.left.remove(name)?);
        read.map_err(|_| self.error(name, format!("is not {}", T::DESCRIPTION))).ok()
    }

    /// Accepts the former name of a setting.
    pub(super) fn alias(&mut self, former: &str, name: &str) {
        let Some(value) = self.left.remove(former) else { return };
        if self.left.contains_key(name) {
            self.error(former, format!("is set together with {name}, its new name; choose one"));
        } else {
            self.left.insert(name.to_owned(), value);
        }
    }

    /// Reads a required setting.
    pub(super) fn required<T: ValueType>(&mut self, name: &'static str) -> Option<T> {
        if !self.has(name) {
            self.error(name, format!("is missing; it is {}", T::DESCRIPTION));
        }
        self.take(name)
    }

    /// Reads an optional duration.
    pub(super) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        let DurationText(text) = self.take(name)?;
        let read = humantime::parse_duration(&text);
        read.map_err(|_| self.error(name, format!("is not {}", DurationText::DESCRIPTION))).ok()
    }

    /// Reads an optional table within this one.
    pub(super) fn section(&mut self, name: &'static str) -> Option<Self> {
        let table = self.take(name)?;
        Some(Self::named(self.path(name), table, &self.errors))
    }

    /// Reads a required table within this one.
    pub(super) fn required_section(&mut self, name: &'static str) -> Option<Self> {
        let table = self.required(name)?;
        Some(Self::named(self.path(name), table, &self.errors))
    }

    /// Reads an optional array of tables, numbered from 0.
    pub(super) fn sections(&mut self, name: &'static str) -> Option<Vec<Self>> {
        let tables = self.take::<Vec<Table>>(name)?.into_iter().enumerate();
        let numbered = tables.map(|(at, table)| (format!("{}[{at}]", self.path(name)), table));
        Some(numbered.map(|(name, table)| Self::named(name, table, &self.errors)).collect())
    }

    /// Returns whether a setting is present and has not been read.
    pub(super) fn has(&mut self, name: &'static str) -> bool {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.left.contains_key(name)
    }

    /// Records an error of a setting.
    pub(super) fn error(&self, setting: &str, problem: impl fmt::Display) {
        self.errors.push(format!("{}: {problem}", self.path(setting)));
    }

    /// Records an error of the whole table.
    pub(super) fn table_error(&self, problem: impl fmt::Display) {
        self.errors.push(format!("{}: {problem}", self.name));
    }

    /// Records an error for each setting that was not read, since an ignored setting would seem to be in effect.
    pub(super) fn end(self) {
        for unknown in self.left.keys() {
            self.error(unknown, format!("is not a setting; known settings: {}", self.known.join(", ")));
        }
    }

    fn path(&self, setting: &str) -> String {
        if self.name.is_empty() { setting.to_owned() } else { format!("{}.{setting}", self.name) }
    }
}

/// All errors of the file, in the order in which they were found.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingErrors(Rc<RefCell<Vec<String>>>);

impl SettingErrors {
    /// Returns one error after which no others can be found.
    pub(super) fn single(error: String) -> Self {
        let errors = Self::default();
        errors.push(error);
        errors
    }

    pub(super) fn push(&self, error: String) {
        self.0.borrow_mut().push(error);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

impl fmt::Display for SettingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.borrow().as_slice() {
            [one] => write!(f, "the configuration has an error: {one}"),
            several => {
                write!(f, "the configuration has {} errors:", several.len())?;
                several.iter().try_for_each(|error| write!(f, "\n  - {error}"))
            }
        }
    }
}

impl std::error::Error for SettingErrors {}

/// A type of values, with its description for error messages.
pub(super) trait ValueType: DeserializeOwned {
    const DESCRIPTION: &'static str;
}

impl ValueType for String {
    const DESCRIPTION: &'static str = "a string";
}

impl ValueType for bool {
    const DESCRIPTION: &'static str = "true or false";
}

impl ValueType for usize {
    const DESCRIPTION: &'static str = "a whole number from 0";
}

impl ValueType for u8 {
    const DESCRIPTION: &'static str = "a whole number from 0 to 255";
}

impl ValueType for Vec<String> {
    const DESCRIPTION: &'static str = "an array of strings";
}

impl ValueType for BTreeMap<String, String> {
    const DESCRIPTION: &'static str =
        "a table of strings, like { \"api.brand-a.example\" = \"https://login.brand-a.example/\" }";
}

impl ValueType for BTreeMap<String, Vec<String>> {
    const DESCRIPTION: &'static str = "a table of arrays of strings, like { admin = [\"read:orders\"] }";
}

impl ValueType for Table {
    const DESCRIPTION: &'static str = "a table";
}

impl ValueType for Vec<Table> {
    const DESCRIPTION: &'static str = "an array of tables, like [[api.issuer]] or [{ .. }]";
}

/// The text of a duration.
#[derive(Deserialize)]
struct DurationText(String);

impl ValueType for DurationText {
    const DESCRIPTION: &'static str = "a duration, like \"5s\" or \"1h\"";
}

/// A string, or an array of strings.
pub(super) struct OneOrMany(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let many = if value.is_str() { Value::Array(vec![value]) } else { value };
        many.try_into().map(Self).map_err(serde::de::Error::custom)
    }
}

impl ValueType for OneOrMany {
    const DESCRIPTION: &'static str = "a string, or an array of strings";
}
