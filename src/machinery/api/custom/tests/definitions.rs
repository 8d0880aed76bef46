//! What a definition may say, and what its versions and columns are.

use super::*;

#[test]
fn a_definition_says_only_what_can_be_kept() {
    assert_eq!(judged(spec(json!({"a": {"type": "string"}}))), [""; 0]);
    let path = "spec.validation.openAPIV3Schema";
    assert_eq!(
        judged(spec(json!({"a": {"description": "no type"}}))),
        [format!(
            "{path}.properties[spec].properties[a].type: Required value: must not be empty for specified object fields"
        )]
    );
    assert_eq!(
        judged(json!({"type": "string"})),
        [format!("{path}.type: Invalid value: \"string\": must be object at the root")]
    );
    let rule = |rule: &str| {
        judged(
            json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}},
            "x-kubernetes-validations": [{"rule": rule}]}}}),
        )
    };
    assert_eq!(rule("self.a == 'x'"), [""; 0]);
    assert!(
        rule("self.b == 'x'")[0].ends_with("compilation failed: ERROR: <input>:1:5: undefined field 'b'")
    );
    assert!(rule("self.a ==")[0].contains("compilation failed: "));
    assert!(rule("sefl.a == ''")[0].contains("undeclared reference to 'sefl'"));
    let mut foreign = definition(spec(json!({})));
    foreign["spec"]["group"] = "example".into();
    let mut errors = Errors::default();
    definition::validate(&foreign, &mut errors);
    assert!(errors.iter().any(|e| e.body.ends_with("should be a domain with at least one dot")));
}

#[test]
fn the_fields_that_every_object_has_keep_their_types() {
    let path = "spec.validation.openAPIV3Schema";
    let good = json!({"kind": {"type": "string"}, "apiVersion": {"type": "string"},
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 9}}}});
    assert_eq!(judged(json!({"type": "object", "properties": good})), [""; 0]);
    let bad = json!({"kind": {"type": "integer"}, "metadata": {"type": "string"}});
    let errors_at = |path: &str| {
        [
            format!("{path}.properties[kind].type: Invalid value: \"integer\": must be string"),
            format!("{path}.properties[metadata].type: Invalid value: \"string\": must be object"),
        ]
    };
    assert_eq!(judged(json!({"type": "object", "properties": bad})), errors_at(path));
    let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": bad});
    assert_eq!(
        judged(spec(json!({"pod": embedded}))),
        errors_at(&format!("{path}.properties[spec].properties[pod]"))
    );
    assert_eq!(judged(spec(bad)), [""; 0], "other fields of these names have any type");
    let (x, none) = (json!({"type": "string", "default": "x"}), json!({}));
    let named = json!({"type": "object", "default": none, "properties": {"name": x}});
    let other = json!({"type": "object", "default": none});
    let defaults = json!({"kind": x, "metadata": named, "spec": other});
    let why = "Forbidden: must not be set in top-level";
    assert_eq!(
        judged(json!({"type": "object", "properties": defaults})),
        [
            format!("{path}.properties[kind].default: {why} kind"),
            format!("{path}.properties[metadata].default: {why} metadata"),
            format!("{path}.properties[metadata].properties[name].default: {why} metadata"),
        ]
    );
    let described = json!({"metadata": {"type": "object", "description": "d"}});
    let errors = judged(json!({"type": "object", "properties": described}));
    assert!(
        errors.len() == 1 && errors[0].contains("must not specify anything other than name"),
        "{errors:?}"
    );
}

#[test]
fn an_integer_or_a_string_is_nothing_else() {
    let path = "spec.validation.openAPIV3Schema.properties[spec].properties[port]";
    let port = json!({"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true});
    assert_eq!(
        judged(spec(json!({"port": port}))),
        [format!(
            "{path}.x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is true"
        )]
    );
    let docs = json!({"type": "string", "allOf": [{"externalDocs": {"url": "u"}}]});
    assert_eq!(
        judged(spec(json!({"port": docs}))),
        [format!("{path}.allOf[0].externalDocs: Forbidden: must be undefined to be structural")]
    );
}

#[test]
fn the_root_of_a_schema_says_little_beside_a_status() {
    let judged = |more: Value, subresources: Value| {
        let mut schema = json!({"type": "object", "description": "d", "required": ["spec"],
            "properties": {"spec": {"type": "object"}, "status": {"type": "object"}},
            "x-kubernetes-validations": [{"rule": "has(self.spec)"}]});
        crate::patch::merge(&mut schema, &more);
        let mut asked = definition(schema);
        asked["spec"]["versions"][0]["subresources"] = subresources;
        let mut errors = Errors::default();
        definition::validate(&asked, &mut errors);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let one_of = json!({"oneOf": [{"required": ["spec"]}, {"required": ["status"]}]});
    assert_eq!(judged(json!({}), json!({"status": {}})), [""; 0]);
    assert_eq!(judged(json!({"oneOf": [], "nullable": false}), json!({"status": {}})), [""; 0]);
    assert_eq!(judged(one_of.clone(), json!({})), [""; 0]);
    let errors = judged(one_of, json!({"status": {}}));
    assert!(errors.len() == 1, "{errors:?}");
    assert!(errors[0].starts_with("spec.validation.openAPIV3Schema: Invalid value: {"), "{errors:?}");
    assert!(
        errors[0].contains("only [Description Type Format ")
            && errors[0].ends_with("if the status subresource is enabled"),
        "{errors:?}"
    );
}

#[test]
fn names_belong_to_the_definition_that_had_them_first() {
    let first =
        definition::accept_names(&definition(spec(json!({}))), std::iter::empty(), kinds::all()).unwrap();
    assert!(has_condition(&first, "Established") && has_condition(&first, "NamesAccepted"));
    let mut second = definition(spec(json!({})));
    second["metadata"]["name"] = "others.stable.example.com".into();
    second["spec"]["names"]["plural"] = "others".into();
    second["spec"]["names"]["singular"] = "other".into();
    let second = definition::accept_names(&second, [&first].into_iter(), kinds::all()).unwrap();
    assert!(!has_condition(&second, "Established"));
    let refused = &list(&second, "status.conditions")[0];
    assert_eq!(text(refused, "reason"), "ListKindConflict");
    assert!(kinds_of(&second).is_empty());
    assert_eq!(
        definition::accept_names(&first, [&second].into_iter(), kinds::all()),
        None,
        "nothing changes for the first"
    );
}

#[test]
fn a_status_accepts_only_names_that_a_spec_may_ask_for() {
    let kind = kinds::find("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
    let errors_of = |names: Value| {
        let mut new = definition(spec(json!({})));
        value::put(&mut new, "status.acceptedNames", names);
        let mut errors = Errors::default();
        (kind.validate_status_update)(&new, &Value::Null, &mut errors);
        errors.iter().map(|e| e.field.clone()).collect::<Vec<_>>()
    };
    assert_eq!(errors_of(json!({"plural": "", "kind": ""})), [""; 0], "none is accepted yet");
    assert_eq!(errors_of(definition(spec(json!({})))["spec"]["names"].clone()), [""; 0]);
    let long = "k".repeat(64);
    assert_eq!(
        errors_of(
            json!({"plural": "../x", "kind": long, "listKind": long, "shortNames": ["ct", "A"], "categories": [""]})
        ),
        [
            "status.acceptedNames.plural",
            "status.acceptedNames.kind",
            "status.acceptedNames.listKind",
            "status.acceptedNames.shortNames[1]",
            "status.acceptedNames.listKind",
            "status.acceptedNames.categories[0]",
        ]
    );
}

#[test]
fn versions_are_ordered_by_stability() {
    let mut all = ["v1alpha1", "v2", "foo", "v1beta2", "v10", "v1beta1", "v1"];
    all.sort_by_key(|v| version_order(v));
    assert_eq!(all, ["v10", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]);
}

#[test]
fn a_columns_format_is_one_that_clients_know() {
    let judged = |path: &str, format: &str| {
        let mut asked = definition(spec(json!({})));
        asked["spec"]["versions"][0]["additionalPrinterColumns"] =
            json!([{"name": "Size", "type": "integer", "jsonPath": path, "format": format}]);
        let mut errors = Errors::default();
        definition::validate(&asked, &mut errors);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let refused = |format: &str| judged(".spec.size", format);
    assert_eq!(refused("int32"), [""; 0]);
    assert_eq!(refused(""), [""; 0]);
    let path = judged("['spec'].size", "");
    assert!(path.len() == 1 && path[0].ends_with("must be a simple json path starting with ."), "{path:?}");
    assert!(
        refused("nonsense")[0].contains(".format: Invalid value: \"nonsense\": must be one of byte,date")
    );
}

#[test]
fn an_empty_value_counts_as_nothing_said_unless_its_field_is_nullable() {
    let kind = kind(spec(json!({
        "replicas": {"type": "integer"}, "size": {"type": "integer", "default": 3},
        "note": {"type": "string", "nullable": true},
        "more": {"type": "object", "additionalProperties": true},
        "items": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}})));
    let mut object = json!({"metadata": {"name": "x"}, "spec": {"replicas": null, "size": null, "note": null,
        "more": {"a": null}, "items": [{"a": null}]}});
    let custom = kind.custom.as_ref().unwrap();
    assert!(custom.conform(&mut object).unwrap().is_empty());
    kind.fill(&mut object).unwrap();
    assert_eq!(object["spec"], json!({"size": 3, "note": null, "more": {"a": null}, "items": [{}]}));
    let mut errors = Errors::default();
    custom.validate(&object, None, &mut errors);
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn of_fields_that_true_lets_in_no_field_is_known() {
    let schema = spec(json!({
        "more": {"type": "object", "properties": {"a": {"type": "string", "default": "q"}},
            "additionalProperties": true},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}));
    assert_eq!(judged(schema.clone()), [""; 0], "true says nothing against the properties");
    let kind = kind(schema);
    let fields = json!({"b": 1, "c": {"d": {"e": 1}}, "l": [{"q": 1}, [2]]});
    let mut object = json!({"metadata": {"name": "x"}, "spec": {"more": fields, "free": fields}});
    let unknown = kind.custom.as_ref().unwrap().conform(&mut object).unwrap();
    assert_eq!(unknown.shown(), ["spec.more.c.d", "spec.more.l[0].q"]);
    kind.fill(&mut object).unwrap();
    let left = json!({"a": "q", "b": 1, "c": {}, "l": [{}, [2]]});
    assert_eq!(object["spec"], json!({"more": left, "free": fields}));
}

#[test]
fn a_stored_object_is_shown_with_the_fields_that_its_schema_has_by_now() {
    let kind = kind(spec(json!({"a": {"type": "string"}})));
    let stored = |spec: Value| json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "x"}, "spec": spec});
    let fits = stored(json!({"a": "1"}));
    assert!(matches!(kind.from_stored(&fits), Cow::Borrowed(_)));
    for other in [json!({"a": "1", "old": 1}), json!({"a": "1", "old": {"b": [1]}})] {
        assert_eq!(*kind.from_stored(&stored(other)), fits);
    }
    assert_eq!(*kind.from_stored(&stored(json!({"a": null}))), stored(json!({})));
}

#[test]
fn fields_to_select_by_are_in_the_schema() {
    let errors_of = |paths: &[&str]| {
        let mut object = definition(spec(
            json!({"color": {"type": "string"}, "sizes": {"type": "array", "items": {"type": "integer"}}}),
        ));
        let fields: Vec<Value> = paths.iter().map(|path| json!({"jsonPath": path})).collect();
        object["spec"]["versions"][0]["selectableFields"] = fields.into();
        let mut errors = Errors::default();
        definition::validate(&object, &mut errors);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(errors_of(&[".spec.color"]), "");
    for (paths, why) in [
        (&[".spec.colour"][..], "is an invalid path: does not refer to a valid field"),
        (&["spec.color"], "is an invalid path: expected [ or . but got: spec.color"),
        (&[".spec.sizes"], "must point to a field of type string, boolean or integer"),
        (&[".spec.color", ".spec.color"], "Duplicate value"),
        (&[".spec['color']"], "is an invalid path: array notation is not allowed"),
        (&[""], "Required value"),
    ] {
        assert!(errors_of(paths).contains(why), "{paths:?}: {}", errors_of(paths));
    }
}

#[test]
fn words_of_a_schema_that_would_do_nothing_are_refused() {
    let path = "spec.validation.openAPIV3Schema.properties[spec].properties[a]";
    for (word, value, why) in [
        ("x-kubernetes-validations", json!([{"rule": "self == 'x'"}]), "must be empty to be structural"),
        ("x-kubernetes-list-type", json!("set"), "must be undefined to be structural"),
        ("x-kubernetes-map-type", json!("atomic"), "must be undefined to be structural"),
        ("default", json!("x"), "must be undefined to be structural"),
        ("nullable", json!(true), "must be false to be structural"),
    ] {
        for branch in ["allOf", "anyOf", "oneOf"] {
            let found = judged(spec(json!({"a": {"type": "string", branch: [{word: value}]}})));
            assert_eq!(found, [format!("{path}.{branch}[0].{word}: Forbidden: {why}")]);
        }
    }
    let unknown = json!({"a": {"type": "object", "default": {"x": 1, "y": 2}, "properties": {"x": {"type": "integer"}}}});
    let found = judged(spec(unknown));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("must not have unknown fields"), "{found:?}");
    let broken =
        json!({"a": {"type": "integer", "default": 1, "x-kubernetes-validations": [{"rule": "self > 1"}]}});
    assert!(judged(spec(broken))[0].contains("failed rule: self > 1"));
    let mut free = definition(spec(json!({})));
    free["spec"]["preserveUnknownFields"] = true.into();
    let mut errors = Errors::default();
    definition::validate(&free, &mut errors);
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        ]
    );
}

#[test]
fn logic_names_only_what_is_defined_outside_of_it() {
    let schema = |logic: Value| {
        json!({"type": "object", "anyOf": logic, "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "string"}, "list": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string"}}}}}}}})
    };
    let fine = json!([{"properties": {"spec": {"required": ["a"], "properties": {
        "a": {"minLength": 1}, "list": {"items": {"properties": {"b": {"minLength": 1}}}}}}}}]);
    assert_eq!(judged(schema(fine)), [""; 0]);
    let path = "spec.validation.openAPIV3Schema";
    let unknown = json!([{"properties": {"spec": {"not": {"properties": {"c": {"minLength": 1}}}}}}]);
    assert_eq!(
        judged(schema(unknown)),
        [format!(
            "{path}.properties[spec].properties[c]: Required value: because it is defined in {path}.anyOf[0].properties[spec].not.properties[c]"
        )]
    );
    let items = json!([{"properties": {"spec": {"properties": {"a": {"items": {"minLength": 1}}}}}}]);
    assert_eq!(
        judged(schema(items)),
        [format!(
            "{path}.properties[spec].properties[a].items: Required value: because it is defined in {path}.anyOf[0].properties[spec].properties[a].items"
        )]
    );
}

#[test]
fn warnings_and_paths_of_a_version_are_short() {
    let judged = |field: &str, value: Value| {
        let mut definition = definition(spec(json!({"n": {"type": "integer"}})));
        value::put(&mut definition, "status", json!({}));
        let version = &mut definition["spec"]["versions"][0];
        version["deprecated"] = true.into();
        value::put(version, field, value);
        let mut errors = Errors::default();
        definition::validate(&definition, &mut errors);
        errors.iter().map(|e| e.field.trim_start_matches("spec.versions[0].").to_string()).collect::<Vec<_>>()
    };
    let warning = "deprecationWarning";
    for fine in ["use v2".to_string(), "v2 を使う".to_string(), "x".repeat(256)] {
        assert_eq!(judged(warning, fine.into()), [""; 0]);
    }
    for wrong in
        ["a\nb".to_string(), "x".repeat(257), String::new(), "a\u{202e}b".to_string(), "a\u{a0}b".into()]
    {
        assert_eq!(judged(warning, wrong.clone().into()), [warning], "{wrong:?}");
    }
    let scale = |path: String| json!({"specReplicasPath": path, "statusReplicasPath": ".status.n"});
    assert_eq!(judged("subresources.scale", scale(".spec.n".into())), [""; 0]);
    let long = judged("subresources.scale", scale(format!(".spec.{}", "n".repeat(256))));
    assert_eq!(long, ["spec.subresources.scale.specReplicasPath"]);
}

#[test]
fn a_column_prints_the_first_value_of_its_path() {
    let entries = |kind: &str, path: &str| json!([{"name": "C", "type": kind, "jsonPath": path}]);
    let object = json!({"a": [{"b": "x", "n": 1}, {"b": "y", "n": 2}], "none": null,
        "no": "", "odd": "2026-01-02 03:04:05Z", "old": "2016-01-02T03:04:05Z"});
    let cell = |kind: &str, path: &str| {
        let columns = columns::of(entries(kind, path).as_array().unwrap());
        columns[0].cell(&object, clock::now())
    };
    assert_eq!(cell("string", ".a[*].b"), json!("x"));
    assert_eq!(cell("string", ".a[1]"), json!(r#"{"b":"y","n":2}"#));
    assert_eq!(cell("integer", ".a[*].n"), json!(1));
    assert_eq!(cell("string", ".missing"), Value::Null);
    assert_eq!(cell("string", ".none"), json!("<no value>"), "as a template prints it");
    assert_eq!(cell("date", ".none"), Value::Null);
    assert_eq!(cell("date", ".no"), json!("<unknown>"));
    assert_eq!(cell("date", ".odd"), json!("<invalid>"), "Go wants a T");
    assert!(cell("date", ".old").as_str().is_some_and(|age| age.ends_with('y')), "{}", cell("date", ".old"));
}

/// Each field of forty bytes would take a megabyte as long as the definition is there.
#[test]
fn the_patterns_of_a_definition_have_a_size() {
    let with = |count: usize, pattern: &dyn Fn(usize) -> String| {
        let field = |n: usize| json!({"type": "string", "pattern": pattern(n)});
        judged(spec((0..count).map(|n| (format!("p{n}"), field(n))).collect()))
    };
    assert_eq!(with(400, &|n| format!("^[a-z0-9]([-a-z0-9]*[a-z0-9])?{n}$")), [""; 0]);
    assert_eq!(with(5_000, &|_| "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$".to_string()), [""; 0], "one pattern");
    assert_eq!(with(20, &|_| r"\pL{40}".to_string()), [""; 0], "one pattern of some two megabytes");
    for refused in [with(20, &|n| format!(r"\pL{{60}}{n}")), with(20, &|_| r"(?:\pL{30}){30}".to_string())] {
        let is_one = refused.len() == 1 && refused[0].contains("take more than 67108864 bytes");
        assert!(is_one, "{refused:?}");
    }
    assert_eq!(with(600, &|n| format!("^a{n}$")).len(), 1, "the table of each counts");
}

/// Each rule would be compiled on a thread of its own, four times when the definition is written.
#[test]
fn the_rules_of_a_definition_have_a_size() {
    let with = |count: usize, rule: String| {
        let rules = vec![json!({"rule": rule, "message": "no"}); count];
        judged(json!({"type": "object", "x-kubernetes-validations": rules}))
    };
    assert_eq!(with(50, "self.metadata.name != ''".into()), [""; 0]);
    for refused in [with(6_000, "true".into()), with(50, format!("true || '{}' == ''", "x".repeat(20_000)))] {
        let is_one = refused.len() == 1 && refused[0].contains("have more than 524288 bytes");
        assert!(is_one, "{refused:?}");
    }
    // Each of them takes a tenth of a second to be compiled.
    let dear = with(20, r"'a'.matches(r'\pL{60}')".into());
    assert!(dear.len() == 1 && dear[0].contains("take more than 33554432 bytes"), "{dear:?}");
}

/// Each default was judged with the steps of a whole object, and one within others was read, with
/// all rules below it, once for each of them.
#[test]
fn all_defaults_of_a_definition_share_the_steps_of_one_object() {
    let rules = json!([{"rule": "lists.range(900000).size() > self"}]);
    let dear = json!({"type": "integer", "default": 1, "x-kubernetes-validations": rules});
    let with = |count: usize| judged(spec((0..count).map(|n| (format!("d{n}"), dear.clone())).collect()));
    assert_eq!(with(2), [""; 0]);
    let many = with(30);
    assert!(many.iter().any(|why| why.contains("running out of cost budget")), "{many:?}");
    let choices: Vec<usize> = (0..20_000).collect();
    let choice = |n: usize| {
        let items = json!({"type": "integer", "enum": choices});
        (format!("c{n}"), json!({"type": "array", "items": items, "default": vec![0; 700]}))
    };
    let many = judged(spec((0..5).map(choice).collect()));
    assert!(many.iter().any(|why| why.contains("too many values for the size of its schema")), "{many:?}");
    let few = judged(spec((0..2).map(choice).collect()));
    assert_eq!(few, [""; 0]);
    let inner = json!({"type": "integer", "default": 1, "x-kubernetes-validations": [{"rule": "self > 0"}]});
    let nested =
        (0..30).fold(inner, |inner, _| json!({"type": "object", "default": {}, "properties": {"a": inner}}));
    assert_eq!(judged(spec(json!({ "a": nested }))), [""; 0]);
    let wrong = json!({"type": "object", "default": {"a": {"b": 0}}, "properties": {"a": {"type": "object",
        "default": {"b": "x"}, "properties": {"b": {"type": "integer", "minimum": 1}}}}});
    let found = judged(spec(json!({ "a": wrong })));
    assert_eq!(found.len(), 2, "a default is judged by its own part of the schema: {found:?}");
}
