//! The scopes that imply others: their errors, and the scopes that follow from others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::claims::ImpliedScopes;
use crate::config::error::{SettingErrorKind, SettingErrors};
use crate::requirement::is_scope_token;

/// For each scope, the scopes that it implies directly.
type Direct<'s> = BTreeMap<&'s str, BTreeSet<&'s str>>;

/// Resolves the setting, and records an error for each malformed scope, each empty list and each cycle.
pub(super) fn resolve(setting: &[(String, Vec<String>)], errors: &mut SettingErrors) -> ImpliedScopes {
    let mut direct = Direct::new();
    for (scope, implied) in setting {
        let name = format!("scopes implied by {scope:?}");
        if implied.is_empty() {
            errors.push(&name, SettingErrorKind::Empty);
        }
        check_name("scopes that imply others", scope, errors);
        implied.iter().for_each(|implied| check_name(&name, implied, errors));
        direct.entry(scope).or_default().extend(implied.iter().map(String::as_str));
    }
    let mut reported = BTreeSet::new();
    let mut pairs = Vec::new();
    for scope in direct.keys() {
        let previous = reachable(&direct, scope);
        pairs.extend(previous.keys().map(|implied| (*scope, *implied)));
        if previous.contains_key(scope) && !reported.contains(scope) {
            let cycle = path_to(scope, &previous);
            reported.extend(cycle.iter().copied());
            let cycle = Box::from(cycle.join(" -> "));
            errors.push("implied scopes", SettingErrorKind::ImpliedScopeCycle { cycle });
        }
    }
    ImpliedScopes::new(pairs)
}

fn check_name(setting: &str, scope: &str, errors: &mut SettingErrors) {
    if scope.is_empty() {
        errors.push(setting, SettingErrorKind::Empty);
    } else if !is_scope_token(scope) {
        errors.push(&format!("{setting}: {scope:?}"), SettingErrorKind::Scope);
    }
}

/// Returns every scope that `start` implies, directly or through others, and the scope before it on a shortest way.
fn reachable<'s>(direct: &Direct<'s>, start: &'s str) -> BTreeMap<&'s str, &'s str> {
    let mut previous = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(scope) = queue.pop_front() {
        for implied in direct.get(scope).into_iter().flatten() {
            if !previous.contains_key(implied) {
                previous.insert(*implied, scope);
                queue.push_back(implied);
            }
        }
    }
    previous
}

/// Returns the cycle from `scope` back to itself.
fn path_to<'s>(scope: &'s str, previous: &BTreeMap<&'s str, &'s str>) -> Vec<&'s str> {
    let mut path = vec![scope];
    let before = std::iter::successors(previous.get(scope), |before| previous.get(*before));
    for before in before {
        path.push(before);
        if *before == scope {
            break;
        }
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::{Claims, ClaimsSettings};
    use crate::config::SettingError;

    fn resolve_all(setting: &[(&str, &[&str])]) -> (ImpliedScopes, Vec<SettingError>) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let setting: Vec<_> = setting.iter().map(|(scope, implied)| ((*scope).to_owned(), owned(implied))).collect();
        let mut errors = SettingErrors::default();
        let implied = resolve(&setting, &mut errors);
        (implied, errors.or::<()>(None).err().map(|error| error.errors().to_vec()).unwrap_or_default())
    }

    #[test]
    fn scopes_imply_others_transitively() {
        let (implied, errors) =
            resolve_all(&[("admin", &["write", "audit"]), ("write", &["read"]), ("admin", &["report"])]);
        assert_eq!(errors, []);
        for (scope, granted) in [("admin", "audit read report write"), ("write", "read"), ("read", ""), ("audit", "")] {
            let settings = ClaimsSettings { implied_scopes: implied.clone(), ..ClaimsSettings::default() };
            let claims = Claims::for_tests_with(&format!(r#"{{"scope":"{scope}"}}"#), settings);
            let added: Vec<&str> = claims.implied_scopes().map(|(implied, _)| implied).collect();
            assert_eq!(added.join(" "), granted, "{scope}");
        }
        assert_eq!(resolve_all(&[]).1, []);
    }

    #[test]
    fn rejects_empty_and_malformed_scopes() {
        let error = |setting: &str, kind| SettingError::new(setting, kind);
        for (setting, expected) in [
            (&[("", &["read"][..])][..], error("scopes that imply others", SettingErrorKind::Empty)),
            (&[("admin", &["read", ""])], error("scopes implied by \"admin\"", SettingErrorKind::Empty)),
            (&[("admin", &[])], error("scopes implied by \"admin\"", SettingErrorKind::Empty)),
            (&[("a b", &["read"])], error("scopes that imply others: \"a b\"", SettingErrorKind::Scope)),
            (&[("admin", &["a b"])], error("scopes implied by \"admin\": \"a b\"", SettingErrorKind::Scope)),
        ] {
            assert_eq!(resolve_all(setting).1, [expected], "{setting:?}");
        }
    }

    #[test]
    fn rejects_each_cycle_once() {
        let cycle = |cycle: &str| {
            SettingError::new("implied scopes", SettingErrorKind::ImpliedScopeCycle { cycle: Box::from(cycle) })
        };
        assert_eq!(resolve_all(&[("a", &["a"])]).1, [cycle("a -> a")]);
        assert_eq!(
            resolve_all(&[("z", &["a"]), ("a", &["b", "x"]), ("b", &["c"]), ("c", &["a"])]).1,
            [cycle("a -> b -> c -> a")]
        );
        assert_eq!(
            resolve_all(&[("a", &["b"]), ("b", &["a"]), ("c", &["c"])]).1,
            [cycle("a -> b -> a"), cycle("c -> c")]
        );
        // Two ways to one scope are no cycle.
        assert_eq!(resolve_all(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"])]).1, []);
    }
}
