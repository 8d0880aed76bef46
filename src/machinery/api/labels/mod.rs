//! Label selectors, in both spellings: `app=web,tier in (a,b)` and `metav1.LabelSelector`.

mod parse;

use super::value;
use serde_json::Value;
use std::fmt;

/// How a requirement compares a label with its values.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Written with a sign and one value, which is how it is printed, too.
    Equals,
    /// `a!=b`; also true without such a label.
    NotEquals,
    /// `a in (b,c)`: the label has one of the values.
    In,
    /// `a notin (b,c)`; also true without such a label.
    NotIn,
    /// `a`: there is such a label, whatever its value.
    Exists,
    /// `!a`: there is no such label.
    DoesNotExist,
    /// `a>5`: both are whole numbers, and the label's is greater.
    GreaterThan,
    /// `a<5`: both are whole numbers, and the label's is less.
    LessThan,
}

/// One part of a selector: `tier in (a,b)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    /// The label's key, e.g. `app.kubernetes.io/name`.
    pub key: String,
    /// How the label's value must compare.
    pub op: Op,
    /// What it is compared with: none for `Exists` and `DoesNotExist`, one for signs.
    pub values: Vec<String>,
}

/// All requirements must hold; an empty selector selects everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector(pub Vec<Requirement>);

impl Requirement {
    fn matches(&self, labels: &Value) -> bool {
        self.op.holds(labels.get(&self.key).and_then(Value::as_str), &self.values)
    }
}

impl Op {
    /// Finds an operator by its name in `matchExpressions` of selectors and of nodes' terms.
    fn named(name: &str) -> Option<Op> {
        Some(match name {
            "In" => Op::In,
            "NotIn" => Op::NotIn,
            "Exists" => Op::Exists,
            "DoesNotExist" => Op::DoesNotExist,
            "Gt" => Op::GreaterThan,
            "Lt" => Op::LessThan,
            _ => return None,
        })
    }

    /// Returns whether the requirement holds for a label's value; `None`: there is no such label.
    /// What is no number is neither greater nor less.
    fn holds(&self, label: Option<&str>, values: &[String]) -> bool {
        let number = |s: &str| s.parse::<i64>().ok();
        let both = || label.and_then(number).zip(values.first().and_then(|v| number(v)));
        match self {
            Op::Equals | Op::In => label.is_some_and(|v| values.iter().any(|w| w == v)),
            Op::NotEquals | Op::NotIn => label.is_none_or(|v| values.iter().all(|w| w != v)),
            Op::Exists => label.is_some(),
            Op::DoesNotExist => label.is_none(),
            Op::GreaterThan => both().is_some_and(|(have, than)| have > than),
            Op::LessThan => both().is_some_and(|(have, than)| have < than),
        }
    }
}

/// Returns whether a label's value fulfils one of `matchExpressions`. `None`: the object has no
/// such label. No value fulfils an unknown operator.
pub fn meets(operator: &str, label: Option<&str>, values: &[String]) -> bool {
    Op::named(operator).is_some_and(|op| op.holds(label, values))
}

impl Selector {
    /// True if it has no requirements, and so selects every object.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether it selects an object with these `labels` (a map, or null).
    pub fn matches(&self, labels: &Value) -> bool {
        self.0.iter().all(|r| r.matches(labels))
    }

    /// Reads a query parameter, e.g. `app=web,tier in (a,b)`.
    ///
    /// # Errors
    /// Upstream's sentence for a part that is no requirement, or a key or value that no label can
    /// have.
    pub fn parse(text: &str) -> Result<Selector, String> {
        let mut requirements = parse::requirements(text)?;
        // As upstream: `kubectl create poddisruptionbudget` writes them in this order.
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Selector(requirements))
    }

    /// Reads a `metav1.LabelSelector`; `None` for null, which selects nothing.
    pub fn of(selector: &Value) -> Option<Selector> {
        if selector.is_null() {
            return None;
        }
        let mut all: Vec<Requirement> = value::pairs(selector, "matchLabels")
            .map(|(k, v)| Requirement { key: k.into(), op: Op::Equals, values: vec![v.into()] })
            .collect();
        for expression in value::list(selector, "matchExpressions") {
            let op = Op::named(value::text(expression, "operator"))
                .filter(|op| !matches!(op, Op::GreaterThan | Op::LessThan))?;
            let values = value::list(expression, "values").iter().filter_map(Value::as_str);
            let key = value::text(expression, "key").to_string();
            all.push(Requirement { key, op, values: values.map(String::from).collect() });
        }
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Some(Selector(all))
    }

    /// Reads a workload's `spec.selector`: a LabelSelector, or a plain map of labels as a
    /// ReplicationController has.
    pub fn of_workload(selector: &Value) -> Option<Selector> {
        match selector.as_object().is_some_and(|map| !map.is_empty() && map.values().all(Value::is_string)) {
            true => Selector::of_map(selector),
            false => Selector::of(selector),
        }
    }

    /// Reads a plain map of labels, as Services have; an empty map selects nothing (`None`).
    pub fn of_map(map: &Value) -> Option<Selector> {
        let map = map.as_object().filter(|m| !m.is_empty())?;
        let mut all: Vec<Requirement> = map
            .iter()
            .filter_map(|(k, v)| Some((k, v.as_str()?)))
            .map(|(k, v)| Requirement { key: k.clone(), op: Op::Equals, values: vec![v.into()] })
            .collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Some(Selector(all))
    }
}

impl fmt::Display for Selector {
    /// `a=b,c in (x,y),!d,e`; values in alphabetical order, however they were written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let mut values: Vec<&str> = r.values.iter().map(String::as_str).collect();
            values.sort_unstable();
            let values = values.join(",");
            let key = &r.key;
            match &r.op {
                Op::Equals => write!(f, "{comma}{key}={values}")?,
                Op::NotEquals => write!(f, "{comma}{key}!={values}")?,
                Op::In => write!(f, "{comma}{key} in ({values})")?,
                Op::NotIn => write!(f, "{comma}{key} notin ({values})")?,
                Op::Exists => write!(f, "{comma}{key}")?,
                Op::DoesNotExist => write!(f, "{comma}!{key}")?,
                Op::GreaterThan => write!(f, "{comma}{key}>{values}")?,
                Op::LessThan => write!(f, "{comma}{key}<{values}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_operator_selects_what_it_says() {
        let labels = json!({"app": "web", "tier": "front", "n": "5"});
        for (text, want) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app=web,tier=back", false),
            ("app!=web", false),
            ("other!=x", true),
            ("app in (web, api)", true),
            ("app notin (web,api)", false),
            ("other notin (x)", true),
            ("tier", true),
            ("!tier", false),
            ("!other,app", true),
            ("n>4", true),
            ("n<5", false),
            ("other<5", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&labels), want, "{text}");
        }
        assert!(Selector::parse("app = = web").is_err());
        assert!(Selector::parse("a b").is_err());
        assert!(Selector::parse("app=web,").is_err());
    }

    #[test]
    fn both_spellings_print_alike() {
        let selector = json!({"matchLabels": {"b": "1", "a": "2"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["x", "y"]}, {"key": "d", "operator": "DoesNotExist"}]});
        let printed = Selector::of(&selector).unwrap().to_string();
        assert_eq!(printed, "a=2,b=1,c in (x,y),!d");
        assert_eq!(Selector::parse("e in (prod, dev)").unwrap().to_string(), "e in (dev,prod)");
        for text in ["c in (x)", "c notin (x)", "c!=x", "c=x", "n>4"] {
            assert_eq!(Selector::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Selector::parse("e in (b, a, b)").unwrap().to_string(), "e in (a,b)");
        assert_eq!(Selector::parse("c=1,!b,a in (x)").unwrap().to_string(), "a in (x),!b,c=1");
        assert_eq!(Selector::parse(&printed).unwrap(), Selector::of(&selector).unwrap());
        assert_eq!(Selector::of_map(&json!({})), None);
    }

    /// As `labels.Parse` of apimachinery 0.35 says it.
    #[test]
    fn a_value_that_is_refused_is_named_by_its_place() {
        for (text, want) in [
            (
                "n>abc",
                "values[0]: Invalid value: \"abc\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
            ("n in (a, b_, a)", "values[1][n]: Invalid value: \"b_\": a valid label must be"),
            ("n=\u{1b}", "values[0][n]: Invalid value: \"\\x1b\": a valid label must be"),
            ("-n=a", "<nil>: Invalid value: \"-n\": name part must consist"),
        ] {
            let error = Selector::parse(text).unwrap_err();
            assert!(error.starts_with(&format!("unable to parse requirement: {want}")), "{error}");
        }
    }
}
