// Package ociapi is the door of the OCI Distribution API (distribution-spec
// 1.1) under /v2/, as ECR serves it: Basic authentication with the user AWS and
// a password of GetAuthorizationToken, refusals in ECR's words.
//
// A request is parsed once into a typed value (parse.go), found in the table of
// routes, which gives its ECR operation (routes.go), authorised under that
// operation's name, and then passed to the domain.
package ociapi
