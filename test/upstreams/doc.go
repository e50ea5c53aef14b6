// Package upstreams pulls through real registries: CNCF distribution with its
// kinds of login, another Berth, and zot where BERTH_TEST_ZOT names its program,
// as crane, skopeo, docker, podman and containerd do.
package upstreams
