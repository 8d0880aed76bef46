//! A structural schema, read once from a definition into a form that works on values. It is
//! lenient: what a definition may say was judged when it was written (`structural`).

use super::fill;
use super::numbers;
use super::patterns::Pattern;
use super::rule::Rule;
use crate::value::{at, flag, list, map, text};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// The type that a schema gives to a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Type {
    /// The schema names no type.
    #[default]
    Any,
    /// A map: fields, or keys of any name.
    Object,
    /// A list.
    Array,
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A whole number or a text (`x-kubernetes-int-or-string`).
    IntOrString,
}

impl Type {
    /// Returns the type's name, as a definition writes it and errors tell it. An `IntOrString` has
    /// upstream's `integer,string`, and a schema without a type the empty text.
    pub fn name(self) -> &'static str {
        match self {
            Type::Any => "",
            Type::Object => "object",
            Type::Array => "array",
            Type::String => "string",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Boolean => "boolean",
            Type::IntOrString => "integer,string",
        }
    }
}

/// What identifies the items of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// Items have no identity: the list is one value.
    #[default]
    Atomic,
    /// An item is identified by its value.
    Set,
    /// An item is identified by the values of these fields.
    Map(Vec<String>),
}

/// A minimum or maximum, and whether it is exclusive.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The number itself.
    pub value: f64,
    /// `value` itself is not allowed.
    pub exclusive: bool,
}

/// One node of a schema.
#[derive(Debug, Default)]
pub struct Schema {
    /// The type of the value (`type`).
    pub kind: Type,
    /// `null` is allowed, too.
    pub nullable: bool,
    /// Fields that the schema does not name stay (`x-kubernetes-preserve-unknown-fields`).
    pub preserve: bool,
    /// An object with apiVersion, kind and metadata of its own.
    pub embedded: bool,
    /// The fields that are known, with their schemas.
    pub properties: BTreeMap<String, Schema>,
    /// The schema of the values of a map (`additionalProperties`).
    pub additional: Option<Box<Schema>>,
    /// The schema of the items of a list.
    pub items: Option<Box<Schema>>,
    /// Fields that must be there.
    pub required: Vec<String>,
    /// The value that the field gets where it is missing.
    pub default: Option<Value>,
    /// Bytes that the default takes in the store, about, with the defaults of its own fields.
    pub(super) default_bytes: usize,
    /// What identifies the items of a list.
    pub list: ListType,
    /// A map that is owned and compared as a whole.
    pub atomic: bool,
    /// e.g. `date-time`; only some are checked.
    pub format: String,
    /// The values that are allowed (`enum`); empty: all are.
    pub one_of_these: Vec<Value>,
    /// The least number.
    pub minimum: Option<Bound>,
    /// The greatest number.
    pub maximum: Option<Bound>,
    /// The value must be a multiple of this number.
    pub multiple_of: Option<f64>,
    /// `minLength` and `maxLength` of a text, in characters.
    pub length: (Option<u64>, Option<u64>),
    /// `minItems` and `maxItems` of a list.
    pub count: (Option<u64>, Option<u64>),
    /// `minProperties` and `maxProperties` of a map.
    pub size: (Option<u64>, Option<u64>),
    /// The pattern that a text must match.
    pub pattern: Option<Pattern>,
    /// Schemas that must all hold for the value.
    pub all_of: Vec<Schema>,
    /// Schemas of which one must hold for the value, if there are any.
    pub any_of: Vec<Schema>,
    /// Schemas of which exactly one must hold for the value, if there are any.
    pub one_of: Vec<Schema>,
    /// A schema that must not hold for the value.
    pub not: Option<Box<Schema>>,
    /// `x-kubernetes-validations`: rules in CEL.
    pub rules: Vec<Rule>,
    /// There is a default in this node or below it.
    pub has_defaults: bool,
    /// There is a rule in this node or below it.
    pub has_rules: bool,
    /// This is an object with metadata of its own, or there is one below.
    pub has_embedded: bool,
}

impl Type {
    /// Reads the type that a node of a schema names.
    fn read(source: &Value) -> Type {
        match text(source, "type") {
            _ if flag(source, "x-kubernetes-int-or-string") => Type::IntOrString,
            "object" => Type::Object,
            "array" => Type::Array,
            "string" => Type::String,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "boolean" => Type::Boolean,
            _ => Type::Any,
        }
    }
}

impl Schema {
    /// Reads the schema of whole objects.
    pub fn root(source: &Value) -> Schema {
        let mut root = Schema::read(source);
        root.embedded = true;
        root
    }

    /// Reads one node of a schema and all nodes below it. What a definition may not say counts as
    /// not said.
    pub fn read(source: &Value) -> Schema {
        let read =
            |path: &str| at(source, path).is_object().then(|| Box::new(Schema::read(at(source, path))));
        let all = |path: &str| list(source, path).iter().map(Schema::read).collect::<Vec<_>>();
        let number = |path: &str| at(source, path).as_f64();
        let count = |path: &str| at(source, path).as_u64();
        let bound = |value: &str, exclusive: &str| {
            number(value).map(|value| Bound { value, exclusive: flag(source, exclusive) })
        };
        let properties: BTreeMap<String, Schema> = map(source, "properties")
            .into_iter()
            .flatten()
            .map(|(name, schema)| (name.clone(), Schema::read(schema)))
            .collect();
        let more = source.get("additionalProperties");
        let keys = || {
            let keys = list(source, "x-kubernetes-list-map-keys").iter().filter_map(Value::as_str);
            keys.map(String::from).collect()
        };
        let mut schema = Schema {
            kind: Type::read(source),
            nullable: flag(source, "nullable"),
            preserve: flag(source, "x-kubernetes-preserve-unknown-fields"),
            embedded: flag(source, "x-kubernetes-embedded-resource"),
            properties,
            additional: match more {
                Some(Value::Bool(true)) => Some(Box::new(Schema { nullable: true, ..Schema::default() })),
                Some(Value::Object(_)) => read("additionalProperties"),
                _ => None,
            },
            items: read("items"),
            required: list(source, "required").iter().filter_map(Value::as_str).map(String::from).collect(),
            default: source.get("default").cloned().map(numbers::normalized),
            list: match text(source, "x-kubernetes-list-type") {
                "set" => ListType::Set,
                "map" => ListType::Map(keys()),
                _ => ListType::Atomic,
            },
            atomic: text(source, "x-kubernetes-map-type") == "atomic",
            format: text(source, "format").to_string(),
            one_of_these: list(source, "enum").to_vec(),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            length: (count("minLength"), count("maxLength")),
            count: (count("minItems"), count("maxItems")),
            size: (count("minProperties"), count("maxProperties")),
            pattern: Some(text(source, "pattern"))
                .filter(|pattern| !pattern.is_empty())
                .and_then(|pattern| Pattern::read(pattern).ok()),
            all_of: all("allOf"),
            any_of: all("anyOf"),
            one_of: all("oneOf"),
            not: read("not"),
            rules: list(source, "x-kubernetes-validations").iter().filter_map(Rule::read).collect(),
            ..Schema::default()
        };
        let below = |of: fn(&Schema) -> bool| schema.children().any(of);
        let (defaults, rules) = (below(|s| s.has_defaults), below(|s| s.has_rules));
        let embedded = below(|s| s.has_embedded);
        schema.has_defaults = schema.default.is_some() || defaults;
        schema.default_bytes = fill::default_bytes(&schema);
        schema.has_rules = !schema.rules.is_empty() || rules;
        schema.has_embedded = schema.embedded || embedded;
        schema
    }

    fn children(&self) -> impl Iterator<Item = &Schema> {
        self.properties.values().chain(self.additional.as_deref()).chain(self.items.as_deref())
    }

    /// Returns the schema of a field, which the schema names or which is a key of a map.
    pub fn field(&self, name: &str) -> Option<&Schema> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    /// Returns the items of the list `old` by their keys; none if the list is no map. This is made
    /// once for a list: to search the list for each item would take time that grows with the square
    /// of its length.
    pub(crate) fn items_by_key<'a>(&self, old: Option<&'a Value>) -> ByKey<'a> {
        let mut found = HashMap::new();
        if let (ListType::Map(keys), Some(Value::Array(items))) = (&self.list, old) {
            for item in items {
                found.entry(self.key_text(keys, item)).or_insert(item); // the first of equal ones
            }
        }
        ByKey(found)
    }

    /// Returns the values of all keys of an item as one text.
    fn key_text(&self, keys: &[String], item: &Value) -> String {
        keys.iter().map(|k| format!("{}\0", self.key(item, k))).collect()
    }

    /// Returns the value of a key of an item. If the item lacks it, the default of the key counts.
    pub fn key(&self, item: &Value, name: &str) -> Value {
        let value = item.get(name).filter(|v| !v.is_null());
        let default = || self.items.as_ref()?.properties.get(name)?.default.as_ref();
        value.or_else(default).cloned().unwrap_or(Value::Null)
    }
}

/// The items of a list by their keys.
pub(crate) struct ByKey<'a>(HashMap<String, &'a Value>);

impl<'a> ByKey<'a> {
    /// Returns the item with the same keys as `item`. `schema`: that of the list.
    pub(crate) fn same(&self, schema: &Schema, item: &Value) -> Option<&'a Value> {
        let ListType::Map(keys) = &schema.list else { return None };
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&schema.key_text(keys, item)).copied()
    }
}

/// The fields that every object has beside those of its schema.
pub(super) const ENVELOPE: [&str; 3] = ["apiVersion", "kind", "metadata"];
