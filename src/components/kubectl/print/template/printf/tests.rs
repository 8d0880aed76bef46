//! Tests of formats and the texts that they make of arguments.

use super::*;
use serde_json::json;

/// The expected texts are those of kubectl 1.32, except that it prints `int` for numbers that are
/// constants.
#[test]
fn formats_are_gos() {
    for (format, args, want) in [
        ("%.7s|%5.1s|%-5.2s|%05s", json!(["hello", "hello", "hello", "x"]), "hello|    h|he   |0000x"),
        ("%+d|% d|%#v|%T|%T", json!([5, 5, "a", 5, "a"]), "+5| 5|\"a\"|int64|string"),
        (
            "%s|%d|%5z|%!",
            json!([3, "web", 5, 4]),
            "%!s(int64=3)|%!d(string=web)|%!z(int64=    5)|%!!(int64=4)",
        ),
        ("%s", json!(["a", "z", 3, null]), "a%!(EXTRA string=z, int64=3, <nil>)"),
        ("%-05d|%05d|%+05d|%8.3d|%.0d|", json!([5, -5, 5, 7, 0]), "5    |-0005|+0005|     007||"),
        (
            "%x|%#x|% x|%X|%6.2x|%#X|%# x",
            json!(["hi", "hi", "hi", 255, "hello", "hi", "hi"]),
            "6869|0x6869|68 69|FF|  6865|0X6869|0x68 0x69",
        ),
        ("%#x|%#o|%#b|%O|%U|%c|%q", json!([255, 8, 5, 8, 65, 65, 65]), "0xff|010|0b101|0o10|U+0041|A|'A'"),
        (
            "%v|%#v|%d|%q|%5v|%T",
            json!([["a"], ["a", "b"], ["a"], ["a", "b"], ["a", "b"], []]),
            "[a]|[]interface {}{\"a\", \"b\"}|[%!d(string=a)]|[\"a\" \"b\"]|[    a     b]|[]interface {}",
        ),
        (
            "%v|%#v|%X|%3v",
            json!([{"f": 1, "a": "h"}, {"f": 1, "a": "h"}, {"a": "h"}, {"a": 1}]),
            "map[a:h f:1]|map[string]interface {}{\"a\":\"h\", \"f\":1}|map[61:68]|map[  a:  1]",
        ),
        ("%t|%d|%5t|%v|%#v", json!([true, true, true, null, null]), "true|%!d(bool=true)| true|<nil>|<nil>"),
        (
            "%v|%g|%e|%f|%.2f|%8.2f|%+.1f|%08.2f|% f",
            json!([1.5, 1.5, 1.5, 1.5, 1.555, 1.5, 1.5, -1.5, 1.5]),
            "1.5|1.5|1.500000e+00|1.500000|1.55|    1.50|+1.5|-0001.50| 1.500000",
        ),
        (
            "%E|%G|%.3g|%.3g|%.3g|%.3v|%d",
            json!([15000.5, 1e21, 1234.5, 0.00001234, 100000.0, 1.23456, 1.5]),
            "1.500050E+04|1E+21|1.23e+03|1.23e-05|1e+05|1.23|%!d(float64=1.5)",
        ),
        (
            "%q|%+q|%#q|%.2q|%8q",
            json!(["\u{e9}\n", "\u{e9}", "a", "abc", "a"]),
            "\"\u{e9}\\n\"|\"\\u00e9\"|`a`|\"ab\"|     \"a\"",
        ),
        ("%[2]s %[1]s %s", json!(["a", "b"]), "b a b"),
        ("%*d|%-*d|%.*f|%[9]s", json!([5, 3, 5, 3, 2, 1.5]), "    3|3    |1.50|%!s(BADINDEX)"),
        ("%5%|%-5q|%s a%", json!(["a"]), "%|\"a\"  |%!s(MISSING) a%!(NOVERB)"),
    ] {
        assert_eq!(formatted(format, args.as_array().unwrap()).unwrap(), want, "{format}");
    }
}

#[test]
fn the_width_of_each_element_does_not_fill_the_memory() {
    let list = json!(vec![0; 100_000]);
    assert_eq!(formatted("%10000d", &[list]).unwrap_err(), TOO_MUCH);
}
