//! `-o go-template`: the part of Go's text/template that people use with kubectl. [`parse`] turns
//! the text into nodes, [`run`] runs them over an object, and [`functions`] has the functions that
//! they call.

mod functions;
mod literal;
mod parse;
mod printf;
mod run;
mod tree;
mod values;
mod variables;

use api::{gojson, gostr};
use parse::{Tokens, block};
pub(super) use printf::type_of;
use run::Run;
use serde_json::Value;
use std::collections::BTreeMap;
use tree::Node;
use variables::undeclared;

pub(crate) struct Template {
    source: String,
    nodes: Vec<Node>,
    defined: BTreeMap<String, Vec<Node>>,
    /// A key that a map does not have is an error.
    pub(crate) strict: bool,
}

impl Template {
    /// Reads a template. Errors have kubectl's words.
    pub(crate) fn parse(source: &str) -> Result<Template, String> {
        let mut tokens = Tokens::of(source)?;
        let (nodes, end) = block(&mut tokens, 0)?;
        if !end.text.is_empty() {
            return Err(format!("template: output:1: unexpected {{{{{}}}}}", end.text));
        }
        let all = std::iter::once(&nodes).chain(tokens.defined.values());
        let unknown = all.filter_map(|nodes| undeclared(nodes)).min_by_key(|(_, at)| *at);
        if let Some((name, at)) = unknown {
            let line = source[..at].matches('\n').count() + 1;
            return Err(format!("template: output:{line}: undefined variable {}", gostr::quote(name)));
        }
        Ok(Template { source: source.into(), nodes, defined: tokens.defined, strict: false })
    }

    /// As [`run`](Template::run); the failure is the whole error of kubectl.
    #[cfg(test)]
    pub(crate) fn print(&self, object: &Value) -> Result<String, String> {
        self.run(object).map_err(|broken| self.error(&broken))
    }

    /// Prints an object.
    pub(crate) fn run(&self, object: &Value) -> Result<String, Broken> {
        self.run_by(Run::new(object, &self.defined), object)
    }

    /// As [`run`](Template::run), with at most so many nodes run and so many bytes printed: for a
    /// program that judges what a user has typed.
    pub(crate) fn print_within(&self, object: &Value, nodes: usize, bytes: usize) -> Result<String, String> {
        let run = Run::new(object, &self.defined).within(nodes, bytes);
        self.run_by(run, object).map_err(|broken| self.error(&broken))
    }

    fn run_by(&self, mut run: Run, object: &Value) -> Result<String, Broken> {
        run.strict = self.strict;
        match run.nodes(&self.nodes, object) {
            Ok(_) => Ok(run.out),
            Err(why) => Err(Broken { why: self.placed(&run, &why), printed: run.out }),
        }
    }

    /// A failure in Go's form: with the place in the template, and the text there.
    fn placed(&self, run: &Run, why: &str) -> String {
        let Some(place) = &run.place else { return format!("template: output: {why}") };
        let before = &self.source[..place.at];
        let line = before.matches('\n').count() + 1;
        let column = before.rfind('\n').map_or(place.at, |end| place.at - end - 1);
        let name = gostr::quote(&run.name);
        format!("template: output:{line}:{column}: executing {name} at <{}>: {why}", place.written)
    }

    /// kubectl's error.
    pub(crate) fn error(&self, broken: &Broken) -> String {
        format!("error executing template {}: {}", gostr::quote(&self.source), broken.why)
    }

    /// What kubectl prints to standard output beside the error: what came before it, and all that
    /// it was about. Source: cli-runtime's `GoTemplatePrinter.PrintObj`.
    pub(crate) fn debug_text(&self, broken: &Broken, object: &Value) -> String {
        format!(
            "{}Error executing template: {}. Printing more information for debugging the template:\n\ttemplate was:\n\t\t{}\n\traw data was:\n\t\t{}\n\tobject given to template engine was:\n\t\t{}\n\n",
            broken.printed,
            broken.why,
            self.source,
            gojson::compact(object),
            gostr::plain(object)
        )
    }
}

/// How a template failed.
#[derive(Debug)]
pub(crate) struct Broken {
    /// The text that was printed before the failure.
    printed: String,
    /// Go's error.
    why: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn loops_in_loops_come_to_an_end() {
        let list = json!({"items": vec![1; 60]});
        for body in ["", "x"] {
            let text = "{{range $.items}}".repeat(5) + body + &"{{end}}".repeat(5);
            let template = Template::parse(&text).unwrap();
            let ended = template.print_within(&list, 100_000, 1 << 20);
            assert!(ended.unwrap_err().contains("runs for too long"), "{text}");
        }
        let doubled = format!("{{{{$x := \"aaaa\"}}}}{}", "{{$x = print $x $x}}".repeat(40));
        let ended = Template::parse(&doubled).unwrap().print_within(&list, 100_000, 1 << 20);
        assert!(ended.unwrap_err().contains("prints too much"));
    }

    /// The template has few nodes and prints little, but each `$` is a copy of the whole list.
    #[test]
    fn copies_of_a_template_that_is_judged_are_bounded() {
        let list = serde_json::json!({"items": vec![serde_json::json!({"a": vec![0; 1_000]}); 5]});
        let all = "$ ".repeat(100);
        let source = format!(
            "{{{{range $.items}}}}{{{{range $.items}}}}{{{{if and {all}}}}}{{{{end}}}}{{{{end}}}}{{{{end}}}}"
        );
        let template = Template::parse(&source).unwrap();
        let why = template.print_within(&list, 100_000, 1 << 20).unwrap_err();
        assert!(why.contains("runs for too long"), "{why}");
    }

    #[test]
    fn a_dot_begins_a_field_or_a_number() {
        for (template, why) in [
            ("{{..}}", "unexpected <.> in operand"),
            ("{{.a..b}}", "unexpected <.> in operand"),
            ("{{.a.}}", "unexpected <.> in operand"),
            ("{{$.}}", "unexpected <.> in operand"),
            ("{{.a.5}}", "unexpected \".5\" in operand"),
            ("{{.5a}}", "bad number syntax: \".5a\""),
            ("{{range $a, $b, $c := .}}{{end}}", "too many declarations in range"),
        ] {
            let message = Template::parse(template).err().unwrap_or_default();
            assert_eq!(message, format!("template: output:1: {why}"), "{template}");
        }
        let numbers = Template::parse("{{.5}} {{printf \"%v\" .25}} {{.}}{{ . }}").unwrap();
        assert_eq!(numbers.print(&json!(1)).unwrap(), "0.5 0.25 11");
    }

    /// The expected texts are those of kubectl.
    #[test]
    fn words_and_constants_are_gos() {
        let object = json!({"items": [{"name": "a", "n": 1}, {"name": "b", "n": 12}]});
        for (template, want) in [
            ("{{if and .data (gt (len .data) 1)}}x{{else}}no{{end}}", "no"),
            ("{{if or (not .data) (eq (index .data \"k\") \"v\")}}x{{end}}", "x"),
            ("{{and 1 0 2}} {{or 0 \"\" 3}} {{1 | and 2}} {{3 | and 0}} {{5 | or 0}}", "0 3 1 0 5"),
            ("{{\"a\\u00e9\\x41\"}} {{0x10}} {{'a'}}{{/* it's \"one */}}", "a\u{e9}A 16 97"),
            (
                "{{printf \"%x %X %o %b %c %x|%5x|%-5x|%05x\" 255 255 8 5 65 \"hi\" 255 255 255}}",
                "ff FF 10 101 A 6869|   ff|ff   |000ff",
            ),
            ("{{range .items}}{{if eq .n 12}}{{break}}{{end}}{{.name}}{{end}}", "a"),
            ("{{printf \"%v|%s|%5d|%05d|%05x\" nil .none 3 -3 -255}}", "<nil>|%!s(<nil>)|    3|-0003|-00ff"),
            (
                "{{print .none}}|{{println nil 1}}{{html .none}}|{{.none}}",
                "<nil>|<nil> 1\n&lt;no value&gt;|<no value>",
            ),
        ] {
            let parsed = Template::parse(template).unwrap_or_else(|e| panic!("{template}: {e}"));
            assert_eq!(parsed.print(&object).unwrap(), want, "{template}");
        }
        for word in ["and", "or"] {
            let message = Template::parse(&format!("{{{{{word}}}}}")).unwrap().print(&object).unwrap_err();
            assert!(
                message.ends_with(&format!("wrong number of args for {word}: want at least 1 got 0")),
                "{message}"
            );
        }
    }

    /// The expected texts are those of kubectl.
    #[test]
    fn values_of_one_type_are_compared() {
        let object = json!({"name": "a", "n": 3, "list": ["a"], "map": {"k": 3}});
        let run = |inner: &str| Template::parse(&format!("{{{{{inner}}}}}")).unwrap().print(&object);
        for (inner, want) in [
            ("eq .n 3", "true"),
            ("eq .n 1 3 \"a\"", "true"),
            ("eq .none 1", "false"),
            ("eq .none .nil", "true"),
            ("eq .list .none", "false"),
            ("ne .name \"b\"", "true"),
            ("ge .n 3", "true"),
            ("lt 1.5 2.5", "true"),
            ("gt \"b\" .name", "true"),
        ] {
            assert_eq!(run(inner).unwrap(), want, "{inner}");
        }
        for (inner, why) in [
            ("eq 1 1.0", "error calling eq: incompatible types for comparison"),
            ("eq .n \"3\"", "error calling eq: incompatible types for comparison"),
            ("eq 1 2 \"a\"", "error calling eq: incompatible types for comparison"),
            ("ne .map 1", "error calling ne: incompatible types for comparison"),
            ("lt 1 2.5", "error calling lt: incompatible types for comparison"),
            ("lt .none 1", "error calling lt: invalid type for comparison"),
            ("gt true false", "error calling gt: invalid type for comparison"),
            ("eq .list .list", "error calling eq: non-comparable type [a]: []interface {}"),
            (
                "eq .map .map",
                "error calling eq: non-comparable type map[k:%!s(int64=3)]: map[string]interface {}",
            ),
            ("eq 1", "error calling eq: missing argument for comparison"),
            ("lt 1", "wrong number of args for lt: want 2 got 1"),
        ] {
            let message = run(inner).unwrap_err();
            assert!(message.ends_with(why), "{inner}: {message}");
        }
    }

    /// The expected texts are those of kubectl.
    #[test]
    fn lists_texts_and_base64_are_read_as_by_go() {
        let object = json!({"s": "hi", "l": [1, 2], "m": {"k": "v"}, "n": 3, "lines": "aG\nk=\n"});
        let run = |inner: &str| Template::parse(&format!("{{{{{inner}}}}}")).unwrap().print(&object);
        for (inner, want) in [
            ("index .s 0", "104"),
            ("index .l 1", "2"),
            ("index .m \"none\"", "<no value>"),
            ("slice .l 0 1 2", "[1]"),
            (".lines | base64decode", "hi"),
            ("base64decode \"aGl=\"", "hi"),
            ("print", ""),
        ] {
            assert_eq!(run(inner).unwrap(), want, "{inner}");
        }
        for (inner, why) in [
            ("index .s 2", "<index .s 2>: error calling index: reflect: string index out of range"),
            ("index .l 2", "error calling index: reflect: slice index out of range"),
            ("index .l -1", "error calling index: index out of range: -1"),
            ("index .l \"k\"", "error calling index: cannot index slice/array with type string"),
            ("index .l nil", "error calling index: cannot index slice/array with nil"),
            ("index .m .n", "error calling index: value has type int64; should be string"),
            ("index .m \"none\" \"k\"", "error calling index: index of nil pointer"),
            ("index .n 0", "error calling index: can't index item of type int64"),
            ("index .none", "error calling index: index of untyped nil"),
            ("len .none", "error calling len: reflect: call of reflect.Value.Type on zero Value"),
            ("slice .n", "error calling slice: can't slice item of type int64"),
            ("slice .s 0 1 2", "error calling slice: cannot 3-index slice a string"),
            ("slice .l 0 1 2 2", "error calling slice: too many slice indexes: 4"),
            ("slice .l 2 1", "error calling slice: invalid slice index: 2 > 1"),
            ("base64decode \"aG!k\"", "base64 decode failed: illegal base64 data at input byte 2"),
            ("base64decode .none", "at <.none>: invalid value; expected string"),
            (".none | base64decode", "at <base64decode>: invalid value; expected string"),
            ("base64decode .n", "at <.n>: wrong type for value; expected string; got int64"),
            ("lt 1 2 3", "at <lt>: wrong number of args for lt: want 2 got 3"),
            ("not 1 2", "at <not>: wrong number of args for not: want 1 got 2"),
            ("len", "wrong number of args for len: want 1 got 0"),
        ] {
            let message = run(inner).unwrap_err();
            assert!(message.ends_with(why), "{inner}: {message}");
        }
    }

    #[test]
    fn templates_of_everyday_use() {
        let object = json!({"items": [{"name": "a", "n": 1, "ok": true}, {"name": "b", "n": 12, "labels": {"x/y": "z"}}], "secret": "aGk="});
        for (template, want) in [
            ("{{range .items}}{{.name}}={{.n}}{{\"\\n\"}}{{end}}", "a=1\nb=12\n"),
            ("{{range $i, $x := .items}}{{if $i}}, {{end}}{{$x.name}}{{end}}", "a, b"),
            ("{{(index .items 1).name}} {{len .items}}", "b 2"),
            ("{{.nothing}}", "<no value>"),
            ("{{.secret | }}", "aGk="),
            (
                "{{range .items}}{{if and .ok (eq .n 1)}}yes{{else if gt .n 10}}big{{else}}no{{end}} {{end}}",
                "yes big ",
            ),
            ("{{index (index .items 1).labels \"x/y\"}}", "z"),
            ("{{.secret | base64decode}}", "hi"),
            ("{{printf \"%-4s|%03d\" \"x\" 7}}", "x   |007"),
            ("{{with .missing}}x{{else}}none{{end}}", "none"),
            ("a {{- /* note */ -}} b {{- \"c\" -}} d", "abcd"),
            ("{{range .items}}{{- .name -}}{{end}}", "ab"),
            ("{{-\n range .items\n-}}\n  {{.name}}\n{{-\tend }}\n{{-\n/* } \" */ -}} c", "abc"),
            ("a\u{a0}{{- \"b\" -}}\u{a0}{{-3}}", "a\u{a0}b\u{a0}-3"),
            ("{{$n := \"q\"}}{{$n}}{{println 1 2}}", "q1 2\n"),
            ("{{$x := 1}}{{range .items}}{{$x := 2}}{{end}}{{$x}}", "1"),
            ("{{$x := 1}}{{range .items}}{{$x = 2}}{{end}}{{$x}}", "2"),
            ("{{$x := 1}}{{if $x = 2}}{{end}}{{with $y := 3}}{{$x = $y}}{{end}}{{$x}}", "3"),
            ("{{$x := 1}}{{if $x = 2}}{{end}}{{$x}}", "2"),
            ("{{range 3}}{{.}}{{end}}{{range $i := 2}}<{{$i}}{{.}}>{{end}}", "012<00><11>"),
            ("{{range 0}}x{{else}}none{{end}}{{range -1}}x{{end}}", "none"),
            ("{{range 9000000000000000000}}{{if eq . 2}}{{break}}{{end}}{{.}}{{end}}", "01"),
            ("{{$a_b := .secret}}{{$a_b}}{{$a_b = 1}}{{if $_c := 2}}{{$a_b}}{{$_c}}{{end}}", "aGk=12"),
            ("{{with $y := .secret}}{{$y}}{{end}}{{if $z := .items}}{{len $z}}{{end}}", "aGk=2"),
            ("{{.nothing.below.it}}", "<no value>"),
            ("{{print 1 2 \"a\" 3}}", "1 2a3"),
            ("{{html \"<a href='x'>\"}}", "&lt;a href=&#39;x&#39;&gt;"),
            ("{{js \"a'<b>\"}}", "a\\'\\u003Cb\\u003E"),
            ("{{urlquery \"a b/~*\"}}", "a+b%2F~%2A"),
            ("{{slice .secret 1 3}}{{slice .secret 3}}", "Gk="),
            (
                "{{printf \"%99999999999999999999d|%.99999999f\" 1 1.5}}",
                "%!(NOVERB)%!(EXTRA int64=1, float64=1.5)",
            ),
        ] {
            let parsed = Template::parse(template).unwrap_or_else(|e| panic!("{template}: {e}"));
            assert_eq!(parsed.print(&object).unwrap(), want, "{template}");
        }
        assert!(Template::parse("{{.a").is_err());
        for (refused, why) in [
            ("{{range $i, $x := 3}}{{end}}", "can't use 3 to iterate over more than one variable"),
            ("{{range 1.5}}{{end}}", "range can't iterate over 1.5"),
        ] {
            assert!(Template::parse(refused).unwrap().print(&object).unwrap_err().ends_with(why));
        }
        for (open, close) in
            [("{{if .a}}", "{{end}}"), ("{{(", ")}}"), ("{{if .a}}{{else if .b}}", "{{end}}")]
        {
            let nested = |times: usize| {
                let (open, close) = match open {
                    "{{(" => (format!("{{{{{}.a", "(".repeat(times)), format!("{}}}}}", ")".repeat(times))),
                    "{{if .a}}" => (open.repeat(times), close.repeat(times)),
                    _ => ("{{if .a}}".to_string() + &"{{else if .b}}".repeat(times), close.to_string()),
                };
                Template::parse(&(open + &close))
            };
            assert!(nested(50).is_ok(), "{open}");
            let message = nested(50_000).err().unwrap();
            assert!(message.ends_with("nested more than 100 levels deep"), "{message}");
        }
        assert!(Template::parse("{{nofunc .a}}").err().unwrap().contains("function \"nofunc\" not defined"));
    }

    #[test]
    fn only_functions_take_arguments() {
        let object = json!({"a": "x", "b": {"c": 1}});
        for (source, why) in [
            ("{{.a .b}}", "a is not a method but has arguments"),
            ("{{.a | .b}}", "b is not a method but has arguments"),
            ("{{$.b.c .b}}", "c is not a method but has arguments"),
            ("{{. .a}}", "can't give argument to non-function ."),
            ("{{nil}}", "nil is not a command"),
        ] {
            let message = Template::parse(source).unwrap().print(&object).unwrap_err();
            assert!(message.ends_with(why), "{source}: {message}");
        }
    }

    /// The errors are those of Go's `text/template`.
    #[test]
    fn a_failure_names_its_place_and_what_stands_there() {
        let object = json!({"a": {"b": 1}, "items": [{"n": 2}], "s": "x", "n": 3});
        for (source, want) in [
            ("{{.nope}}", "1:2: executing \"output\" at <.nope>"),
            ("{{.a.nope.c}}", "1:4: executing \"output\" at <.a.nope.c>"),
            ("x\n  {{ $.nope }}", "2:6: executing \"output\" at <$.nope>"),
            ("{{range .items}}\n{{.nope}}{{end}}", "2:2: executing \"output\" at <.nope>"),
            ("{{with $x := .a}}{{$x.nope}}{{end}}", "1:21: executing \"output\" at <$x.nope>"),
            ("{{(index .items 0).nope}}", "1:16: executing \"output\" at <0>"),
            ("{{define \"t\"}}{{.nope}}{{end}}{{template \"t\" .}}", "1:16: executing \"t\" at <.nope>"),
            ("{{if .nope}}{{end}}", "1:5: executing \"output\" at <.nope>"),
            ("{{eq .n \"3\"}}", "1:2: executing \"output\" at <eq .n \"3\">"),
            ("{{.s | eq 1}}", "1:7: executing \"output\" at <eq 1>"),
            ("{{lt .n}}", "1:2: executing \"output\" at <lt>"),
            ("{{and}}", "1:2: executing \"output\" at <and>"),
            ("{{len .n}}", "1:2: executing \"output\" at <len .n>: error calling len: len of type int64"),
            ("{{.s | .a}}", "1:7: executing \"output\" at <.a>: a is not a method but has arguments"),
            ("{{range .s}}{{end}}", "1:8: executing \"output\" at <.s>: range can't iterate over x"),
            ("{{template \"y\" .a.b}}", "1:11: executing \"output\" at <{{template \"y\" .a.b}}>"),
            ("{{if eq (len .items) \"1\"}}{{end}}", "1:5: executing \"output\" at <eq (len .items) \"1\">"),
            ("\u{e9}{{.nope}}", "1:4: executing \"output\" at <.nope>"),
            ("{{$x = 1}}{{$x}}", "1:7: executing \"output\" at <1>: undefined variable: $x"),
            ("{{or (eq 1 1.0) 2}}", "1:6: executing \"output\" at <eq 1 1.0>"),
            ("{{- .nope -}}", "1:4: executing \"output\" at <.nope>: map has no entry for key \"nope\""),
        ] {
            let mut template = Template::parse(source).unwrap();
            template.strict = true;
            let broken = template.run(&object).unwrap_err();
            assert!(broken.why.starts_with(&format!("template: output:{want}")), "{source}: {}", broken.why);
        }
        for (source, want) in [
            ("a\n{{foo}}", "template: output:2: function \"foo\" not defined"),
            ("a\n{{if}}{{end}}", "template: output:2: missing value for if"),
            ("a\n{{1a}}", "template: output:2: bad number syntax: \"1a\""),
            ("\n{{.a", "template: output:2: unclosed action"),
            ("{{.a} {{.b}}", "template: output:1: bad character U+007D '}'"),
            ("\n{{.a}", "template: output:2: bad character U+007D '}'"),
            ("{{.a }", "template: output:1: unexpected \"}\" in operand"),
            ("{{;}}", "template: output:1: unexpected \";\" in command"),
            ("{{| .a}}", "template: output:1: unexpected \"|\" in command"),
            ("{{.a)}}", "template: output:1: unexpected right paren"),
            ("{{.a | 2}}", "template: output:1: non executable command in pipeline stage 2"),
            ("{{.a | .}}", "template: output:1: non executable command in pipeline stage 2"),
            ("{{_a}}", "template: output:1: function \"_a\" not defined"),
            ("{{\"a}}", "template: output:1: unterminated quoted string"),
            ("{{/* a", "template: output:1: unclosed comment"),
            ("{{/*/}}", "template: output:1: unclosed comment"),
            ("{{/* a */ }}", "template: output:1: comment ends before closing delimiter"),
            ("{{ /* a */}}", "template: output:1: unexpected \"/\" in command"),
            ("{{-  /* a */}}", "template: output:1: unexpected \"/\" in command"),
            ("{{.a}}\n{{.a\n}}\n{{/* \n */}}{{foo}}", "template: output:5: function \"foo\" not defined"),
        ] {
            assert_eq!(Template::parse(source).err().unwrap(), want, "{source}");
        }
    }

    #[test]
    fn a_missing_key_may_be_an_error() {
        let object = json!({"a": {"b": 1}, "items": [{"n": 2}]});
        let run = |source: &str| {
            let mut template = Template::parse(source).unwrap();
            template.strict = true;
            template.print(&object)
        };
        assert_eq!(run("{{.a.b}}{{range .items}}{{.n}}{{end}}").as_deref(), Ok("12"));
        for source in [
            "{{.nope}}",
            "{{.a.nope.c}}",
            "{{$.nope}}",
            "{{range .items}}{{.nope}}{{end}}",
            "{{with $x := .a}}{{$x.nope}}{{end}}",
            "{{(index .items 0).nope}}",
            "{{define \"t\"}}{{.nope}}{{end}}{{template \"t\" .}}",
            "{{if .nope}}{{end}}",
        ] {
            let message = run(source).unwrap_err();
            assert!(message.ends_with("map has no entry for key \"nope\""), "{source}: {message}");
        }
    }

    #[test]
    fn templates_call_each_other_so_often_and_no_more() {
        let object = json!({"name": "r", "below": [{"name": "a", "below": [{"name": "b"}]}, {"name": "c"}]});
        for (template, want) in [
            (
                "{{define \"x\"}}<{{.name}}>{{end}}{{template \"x\" .}}{{range .below}}{{template \"x\" .}}{{end}}",
                "<r><a><c>",
            ),
            ("{{template \"late\"}}{{define \"late\"}}{{.}}|{{end}}", "<no value>|"),
            (
                "{{define \"t\"}}{{$.name}}{{range .below}}({{template \"t\" .}}){{end}}{{end}}{{template \"t\" .}}",
                "r(a(b))(c)",
            ),
            ("{{with .name}}{{block \"b\" printf \"%s!\" . | len}}{{.}}{{end}}{{end}}", "2"),
            ("{{$v := 1}}{{define \"e\"}}{{end}}{{define \"e\"}}y{{end}}{{template \"e\"}}{{$v}}", "y1"),
        ] {
            let parsed = Template::parse(template).unwrap_or_else(|e| panic!("{template}: {e}"));
            assert_eq!(parsed.print(&object).unwrap(), want, "{template}");
        }
        for (template, why) in [
            ("{{template \"x\"}}", "template \"x\" not defined"),
            ("{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}", "more than 200 levels deep"),
            (
                "{{define \"y\"}}{{end}}{{define \"x\"}}{{range .}}{{template \"y\"}}{{end}}{{end}}{{range .}}{{template \"x\" $}}{{end}}",
                "more than 10000 times",
            ),
        ] {
            let message = Template::parse(template).unwrap().print(&json!(vec![0; 200])).unwrap_err();
            assert!(message.ends_with(why), "{message}");
        }
        for refused in [
            "{{define}}x{{end}}",
            "{{define \"x\" .}}{{end}}",
            "{{define \"x\"}}",
            "{{define \"x\"}}{{else}}{{end}}",
            "{{define \"x\"}}1{{end}}{{define \"x\"}}2{{end}}",
            "{{if .}}{{define \"x\"}}{{end}}{{end}}",
            "{{block \"x\"}}{{end}}",
            "{{template .x}}",
            "{{template \"x\" | len}}",
            "{{break}}",
            "{{continue}}",
            "{{range .x}}{{else}}{{break}}{{end}}",
            "{{range .x}}{{block \"b\" .}}{{break}}{{end}}{{end}}",
            "{{$v := 1}}{{define \"x\"}}{{$v}}{{end}}{{template \"x\"}}",
        ] {
            assert!(Template::parse(refused).is_err(), "{refused}");
        }
    }
}
