// Package upstreams pulls through real registries: CNCF distribution with its
// kinds of login, and another Berth, as crane and skopeo do.
package upstreams
