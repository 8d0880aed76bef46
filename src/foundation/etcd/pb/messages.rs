//! The table that messages are written in, and how their fields look as JSON.

use base64::Engine as _;
use bytes::Bytes;
use serde::Serializer;

/// One message a line of the table: `kind field = number`, as in a `.proto` file. `as "Name"`
/// behind the number is the field's name in JSON if that is another; `oneof` takes the enum and its
/// numbers.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($fields:tt)* })*) => {
        $(messages!(@field [$(#[$doc])*] $name {} $($fields)*);)*
    };
    (@field [$($doc:tt)*] $name:ident { $($done:tt)* }) => {
        $($doc)*
        ///
        /// One of etcd's messages: its fields and their numbers are those of the `.proto` file.
        #[allow(missing_docs)] // of fields: etcd's `.proto` files explain them
        #[derive(Clone, PartialEq, prost::Message, serde::Serialize)]
        pub struct $name { $($done)* }
    };
    (@field $doc:tt $name:ident { $($done:tt)* } $kind:ident $field:ident = $number:tt $(as $json:tt)?, $($rest:tt)*) => {
        messages!(@$kind $doc $name { $($done)* } $field $number [$($json)?] $($rest)*);
    };
    (@field $doc:tt $name:ident { $($done:tt)* } $kind:ident<$of:ident> $field:ident = $number:tt $(as $json:tt)?, $($rest:tt)*) => {
        messages!(@$kind $doc $name { $($done)* } $of $field $number [$($json)?] $($rest)*);
    };
    (@field $doc:tt $name:ident { $($done:tt)* } oneof($path:tt, $numbers:tt) $of:ident $field:ident as $json:tt, $($rest:tt)*) => {
        messages!(@field $doc $name { $($done)*
            #[prost(oneof = $path, tags = $numbers)]
            #[serde(rename = $json, skip_serializing_if = "Option::is_none")]
            pub $field: Option<$of>,
        } $($rest)*);
    };
    (@bytes $doc:tt $name:ident { $($done:tt)* } $field:ident $number:tt [$($json:tt)?] $($rest:tt)*) => {
        messages!(@field $doc $name { $($done)*
            #[prost(bytes = "bytes", tag = $number)]
            #[serde($(rename = $json,)? skip_serializing_if = "bytes::Bytes::is_empty", serialize_with = "crate::pb::messages::base64")]
            pub $field: bytes::Bytes,
        } $($rest)*);
    };
    (@strings $doc:tt $name:ident { $($done:tt)* } $field:ident $number:tt [$($json:tt)?] $($rest:tt)*) => {
        messages!(@field $doc $name { $($done)*
            #[prost(string, repeated, tag = $number)]
            #[serde($(rename = $json,)? skip_serializing_if = "Vec::is_empty")]
            pub $field: Vec<String>,
        } $($rest)*);
    };
    (@blobs $doc:tt $name:ident { $($done:tt)* } $field:ident $number:tt [$($json:tt)?] $($rest:tt)*) => {
        messages!(@field $doc $name { $($done)*
            #[prost(bytes = "bytes", repeated, tag = $number)]
            #[serde($(rename = $json,)? skip_serializing_if = "Vec::is_empty", serialize_with = "crate::pb::messages::base64s")]
            pub $field: Vec<bytes::Bytes>,
        } $($rest)*);
    };
    (@enums $doc:tt $name:ident { $($done:tt)* } $field:ident $number:tt [$($json:tt)?] $($rest:tt)*) => {
        messages!(@field $doc $name { $($done)*
            #[prost(int32, repeated, tag = $number)]
            #[serde($(rename = $json,)? skip_serializing_if = "Vec::is_empty")]
            pub $field: Vec<i32>,
        } $($rest)*);
    };
    (@message $doc:tt $name:ident { $($done:tt)* } $of:ident $field:ident $number:tt [$($json:tt)?] $($rest:tt)*) => {
        messages!(@field $doc $name { $($done)*
            #[prost(message, optional, tag = $number)]
            #[serde($(rename = $json,)? skip_serializing_if = "Option::is_none")]
            pub $field: Option<$of>,
        } $($rest)*);
    };
    (@repeated $doc:tt $name:ident { $($done:tt)* } $of:ident $field:ident $number:tt [$($json:tt)?] $($rest:tt)*) => {
        messages!(@field $doc $name { $($done)*
            #[prost(message, repeated, tag = $number)]
            #[serde($(rename = $json,)? skip_serializing_if = "Vec::is_empty")]
            pub $field: Vec<$of>,
        } $($rest)*);
    };
    (@plain $kind:ident $type:ty, $doc:tt $name:ident { $($done:tt)* } $field:ident $number:tt [$($json:tt)?] $($rest:tt)*) => {
        messages!(@field $doc $name { $($done)*
            #[prost($kind, tag = $number)]
            #[serde($(rename = $json,)? skip_serializing_if = "crate::pb::messages::unset")]
            pub $field: $type,
        } $($rest)*);
    };
    (@string $($rest:tt)*) => { messages!(@plain string String, $($rest)*); };
    (@int64 $($rest:tt)*) => { messages!(@plain int64 i64, $($rest)*); };
    (@uint64 $($rest:tt)*) => { messages!(@plain uint64 u64, $($rest)*); };
    (@int32 $($rest:tt)*) => { messages!(@plain int32 i32, $($rest)*); };
    (@uint32 $($rest:tt)*) => { messages!(@plain uint32 u32, $($rest)*); };
    (@bool $($rest:tt)*) => { messages!(@plain bool bool, $($rest)*); };
}
pub(super) use messages;

/// Returns whether a value is the default, which is not sent.
pub(super) fn unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(super) fn base64<S: Serializer>(bytes: &Bytes, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&base64::engine::general_purpose::STANDARD.encode(bytes))
}

pub(super) fn base64s<S: Serializer>(list: &[Bytes], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(list.iter().map(|b| base64::engine::general_purpose::STANDARD.encode(b)))
}
