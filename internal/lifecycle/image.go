package lifecycle

import "time"

// State says whether an image can be pulled.
type State int

// The values of State.
const (
	Active     State = iota
	Archived         // in the archive: only rules on the archive see it
	Activating       // on its way back: no rule sees it (unconfirmed)
)

// Image is what a policy looks at in an image of a repository. Every manifest is
// one: an index, the images that it lists, signatures.
type Image struct {
	Digest string
	Tags   []string // empty: the image is untagged
	State  State
	// PushedAt is when the manifest was pushed, PulledAt when it was last pulled;
	// zero: never.
	PushedAt, PulledAt time.Time
	// ArchivedAt is when it was last archived, and ActivatedAt when it was last
	// restored; zero: never.
	ArchivedAt, ActivatedAt time.Time
	// Subject is the digest that a signature or an SBOM refers to; empty: none.
	// Such an image is not selected and not counted: it follows its subject.
	Subject string
	// Children are the digests that an index lists.
	Children []string
}

// pushed is the time that counts as the push: that of the last restoration, if
// there was one (ECR User Guide, "Archiving an image").
func (i *Image) pushed() time.Time {
	if !i.ActivatedAt.IsZero() {
		return i.ActivatedAt
	}
	return i.PushedAt
}

// pulled is the time that counts as the last pull: an image that was not pulled
// since it came (back) counts as pulled then.
func (i *Image) pulled() time.Time {
	if pushed := i.pushed(); i.PulledAt.Before(pushed) {
		return pushed
	}
	return i.PulledAt
}

// class is the storage class that rules see; false: none sees the image.
func (i *Image) class() (StorageClass, bool) {
	switch i.State {
	case Active:
		return Standard, true
	case Archived:
		return Archive, true
	}
	return "", false
}
