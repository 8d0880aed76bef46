//! The group `apiextensions.k8s.io`.

kinds! {
    pub mod custom_resource_definition: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
}
