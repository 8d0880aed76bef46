//! The fields of a kustomization file. Source: kustomize's `api/types`.

use super::strict::{self, At, Decode, mismatch, strict};
use serde_json::Value;
use std::collections::BTreeMap;

/// Labels or annotations.
pub(super) type Pairs = BTreeMap<String, String>;

/// Defines text that has a type of its own in Go.
macro_rules! text_types {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub(super) struct $name(pub String);

        impl Decode for $name {
            fn go_type() -> String {
                concat!("types.", stringify!($name)).into()
            }
            fn decode(value: &Value, at: &At) -> Result<$name, String> {
                let text = value.as_str().ok_or_else(|| mismatch(value, at, &Self::go_type()))?;
                Ok($name(text.into()))
            }
        }
    )*};
}

text_types! {
    /// A strategic merge patch, or the path of a file with some.
    PatchStrategicMerge
    /// `legacy` or `fifo`.
    SortOrder
}

/// An item of a field that is refused as a whole, so that its content does not matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused;

impl Decode for Refused {
    fn go_type() -> String {
        "types.Refused".into()
    }
    fn decode(_: &Value, _: &At) -> Result<Refused, String> {
        Ok(Refused)
    }
}

strict! {
    Metadata as "ObjectMeta" {
        name: String = "name",
        namespace: String = "namespace",
        labels: Pairs = "labels",
        annotations: Pairs = "annotations",
    }

    Image as "Image" {
        /// A regular expression for the image's name.
        name: String = "name",
        new_name: String = "newName",
        new_tag: String = "newTag",
        digest: String = "digest",
        tag_suffix: String = "tagSuffix",
    }

    Replica as "Replica" {
        name: String = "name",
        count: i64 = "count",
    }

    Label as "Label" {
        pairs: Pairs = "pairs",
        include_selectors: bool = "includeSelectors",
        include_templates: bool = "includeTemplates",
        fields: Vec<Refused> = "fields",
    }

    /// The objects that a patch is for. Group, version, kind, name and namespace are regular
    /// expressions.
    Selector as "Selector" {
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        name: String = "name",
        namespace: String = "namespace",
        annotation_selector: String = "annotationSelector",
        label_selector: String = "labelSelector",
    }

    Patch as "Patch" {
        path: String = "path",
        patch: String = "patch",
        target: Option<Selector> = "target",
        options: BTreeMap<String, bool> = "options",
    }

    ConfigMapArgs as "ConfigMapArgs" {
        namespace: String = "namespace",
        name: String = "name",
        behavior: String = "behavior",
        literals: Vec<String> = "literals",
        files: Vec<String> = "files",
        envs: Vec<String> = "envs",
        env: String = "env",
        options: Option<GeneratorOptions> = "options",
    }

    SecretArgs as "SecretArgs" {
        namespace: String = "namespace",
        name: String = "name",
        behavior: String = "behavior",
        literals: Vec<String> = "literals",
        files: Vec<String> = "files",
        envs: Vec<String> = "envs",
        env: String = "env",
        options: Option<GeneratorOptions> = "options",
        secret_type: String = "type",
    }

    GeneratorOptions as "GeneratorOptions" {
        labels: Pairs = "labels",
        annotations: Pairs = "annotations",
        disable_name_suffix_hash: bool = "disableNameSuffixHash",
        immutable: bool = "immutable",
    }

    SortOptions as "SortOptions" {
        order: SortOrder = "order",
        legacy_sort_options: Option<LegacySortOptions> = "legacySortOptions",
    }

    LegacySortOptions as "LegacySortOptions" {
        order_first: Vec<String> = "orderFirst",
        order_last: Vec<String> = "orderLast",
    }

    /// The whole file.
    Kustomization as "Kustomization" {
        api_version: String = "apiVersion",
        kind: String = "kind",
        metadata: Option<Metadata> = "metadata",
        resources: Vec<String> = "resources",
        bases: Vec<String> = "bases",
        namespace: String = "namespace",
        name_prefix: String = "namePrefix",
        name_suffix: String = "nameSuffix",
        common_labels: Pairs = "commonLabels",
        labels: Vec<Label> = "labels",
        common_annotations: Pairs = "commonAnnotations",
        images: Vec<Image> = "images",
        image_tags: Vec<Image> = "imageTags",
        replicas: Vec<Replica> = "replicas",
        patches: Vec<Patch> = "patches",
        patches_strategic_merge: Vec<PatchStrategicMerge> = "patchesStrategicMerge",
        patches_json6902: Vec<Patch> = "patchesJson6902",
        config_map_generator: Vec<ConfigMapArgs> = "configMapGenerator",
        secret_generator: Vec<SecretArgs> = "secretGenerator",
        generator_options: Option<GeneratorOptions> = "generatorOptions",
        sort_options: Option<SortOptions> = "sortOptions",
        openapi: Pairs = "openapi",
        build_metadata: Vec<String> = "buildMetadata",
        components: Vec<String> = "components",
        crds: Vec<String> = "crds",
        configurations: Vec<String> = "configurations",
        generators: Vec<String> = "generators",
        transformers: Vec<String> = "transformers",
        validators: Vec<String> = "validators",
        replacements: Vec<Refused> = "replacements",
        vars: Vec<Refused> = "vars",
        helm_charts: Vec<Refused> = "helmCharts",
        helm_globals: Option<Refused> = "helmGlobals",
        helm_chart_inflation_generator: Vec<Refused> = "helmChartInflationGenerator",
    }
}

impl From<&ConfigMapArgs> for SecretArgs {
    /// A ConfigMap generator is a Secret generator without a type.
    fn from(args: &ConfigMapArgs) -> SecretArgs {
        let ConfigMapArgs { namespace, name, behavior, literals, files, envs, env, options } = args.clone();
        let secret_type = String::new();
        SecretArgs { namespace, name, behavior, literals, files, envs, env, options, secret_type }
    }
}

impl Kustomization {
    /// Returns the first field that is set and that this kubectl does not carry out.
    pub(super) fn refused(&self) -> Option<&'static str> {
        let suffixed = |images: &[Image]| images.iter().any(|image| !image.tag_suffix.is_empty());
        let sorted = self.sort_options.as_ref().is_some_and(|sort| sort.legacy_sort_options.is_some());
        let used = [
            ("components", !self.components.is_empty()),
            ("replacements", !self.replacements.is_empty()),
            ("vars", !self.vars.is_empty()),
            ("generators", !self.generators.is_empty()),
            ("transformers", !self.transformers.is_empty()),
            ("validators", !self.validators.is_empty()),
            ("helmCharts", !self.helm_charts.is_empty()),
            ("helmGlobals", self.helm_globals.is_some()),
            ("helmChartInflationGenerator", !self.helm_chart_inflation_generator.is_empty()),
            ("configurations", !self.configurations.is_empty()),
            ("crds", !self.crds.is_empty()),
            ("openapi", !self.openapi.is_empty()),
            ("buildMetadata", !self.build_metadata.is_empty()),
            ("images.tagSuffix", suffixed(&self.images)),
            ("imageTags.tagSuffix", suffixed(&self.image_tags)),
            ("labels.fields", self.labels.iter().any(|label| !label.fields.is_empty())),
            ("sortOptions.legacySortOptions", sorted),
        ];
        used.into_iter().find(|(_, set)| *set).map(|(field, _)| field)
    }

    /// Returns whether objects stay in the order in which they were named.
    pub(super) fn keeps_order(&self) -> bool {
        self.sort_options.as_ref().is_some_and(|sort| sort.order.0 == "fifo")
    }
}
