package impact

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Reference names an image that something runs.
type Reference struct {
	Host       string // empty: whichever registry is asked about
	Repository string
	Tag        string // empty: none was given, unless there is no digest either, which is "latest"
	Digest     string
}

// ParseReference reads [HOST/]REPOSITORY[:TAG][@DIGEST]. What stands before the first slash is a host when it has a dot
// or a colon in it or is "localhost", as for docker.
func ParseReference(text string) (out Reference, err error) {
	rest, digest, _ := strings.Cut(text, "@")
	out.Digest = digest
	if host, path, ok := strings.Cut(rest, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		out.Host, rest = host, path
	}
	out.Repository, out.Tag, _ = strings.Cut(rest, ":")
	if out.Repository == "" || strings.ContainsAny(text, " \t") || strings.Contains(out.Tag, "/") {
		return Reference{}, fmt.Errorf("%q is no reference of an image: write REPOSITORY:TAG or HOST/REPOSITORY@DIGEST", text)
	}
	if out.Tag == "" && out.Digest == "" {
		out.Tag = "latest"
	}
	return out, nil
}

// pods is what counts of the output of `kubectl get pods -o json`: a list, or one pod.
type pods struct {
	pod
	Items []pod `json:"items"`
}

type pod struct {
	Kind string `json:"kind"`
	Spec struct {
		Containers          []container `json:"containers"`
		InitContainers      []container `json:"initContainers"`
		EphemeralContainers []container `json:"ephemeralContainers"`
	} `json:"spec"`
	Status struct {
		ContainerStatuses          []container `json:"containerStatuses"`
		InitContainerStatuses      []container `json:"initContainerStatuses"`
		EphemeralContainerStatuses []container `json:"ephemeralContainerStatuses"`
	} `json:"status"`
}

// A container has the reference as it was written, and when it ran, what that was then.
type container struct {
	Image   string `json:"image"`
	ImageID string `json:"imageID"`
}

// ParseInUse reads the images that something runs: the output of `kubectl get pods -A -o json`, or one reference on
// each line, where "#" begins a comment.
func ParseInUse(text []byte) (out []Reference, err error) {
	if strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		return parsePods(text)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		r, err := ParseReference(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func parsePods(text []byte) (out []Reference, err error) {
	var list pods
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("this is not the output of kubectl get pods -o json: %w", err)
	}
	if list.Items == nil && list.Kind != "Pod" {
		return nil, fmt.Errorf("this is not the output of kubectl get pods -o json: its kind is %q and it has no items", list.Kind)
	}
	seen := map[Reference]bool{}
	for _, p := range append(list.Items, list.pod) {
		for _, c := range slices.Concat(p.Spec.Containers, p.Spec.InitContainers, p.Spec.EphemeralContainers,
			p.Status.ContainerStatuses, p.Status.InitContainerStatuses, p.Status.EphemeralContainerStatuses) {
			// Older runtimes put a scheme before the identity, and one that built the image itself has no registry to name.
			_, id, hasScheme := strings.Cut(c.ImageID, "://")
			if !hasScheme {
				id = c.ImageID
			}
			for _, text := range []string{c.Image, id} {
				r, err := ParseReference(text)
				// A name without a host is one of Docker Hub to Kubernetes, and an identity without a name is one of no registry.
				if err != nil || r.Host == "" || seen[r] {
					continue
				}
				seen[r] = true
				out = append(out, r)
			}
		}
	}
	return out, nil
}
