// Package findings is what a scan says about one image, for people and for
// pipelines: it compares, applies OpenVEX statements, decides whether a policy
// is met, and writes tables, JSON, SARIF 2.1.0, CycloneDX 1.6 and SPDX 2.3.
//
// It is pure: the same report gives the same bytes. It knows neither the ECR API
// nor where findings come from.
package findings
