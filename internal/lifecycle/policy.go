package lifecycle

// Limits of a lifecycle policy (ECR API Reference and quotas).
const (
	MinTextLength   = 100   // characters
	MaxTextLength   = 30720 // characters
	MaxRules        = 50
	MaxWildcards    = 4   // in one pattern
	MaxTagLength    = 128 // characters in one prefix or pattern; unconfirmed, that of a tag
	MinArchivedDays = 90  // images are stored at least so long in the archive
)

// TagStatus says which images a rule looks at.
type TagStatus string

// The values of TagStatus, in the spelling of policy documents.
const (
	Tagged   TagStatus = "tagged"
	Untagged TagStatus = "untagged"
	Any      TagStatus = "any"
)

// StorageClass says where the images of a rule are stored.
type StorageClass string

// The values of StorageClass, in the spelling of policy documents.
const (
	Standard StorageClass = "standard"
	Archive  StorageClass = "archive"
)

// CountType says what a rule counts.
type CountType string

// The values of CountType.
const (
	ImageCountMoreThan     CountType = "imageCountMoreThan"
	SinceImagePushed       CountType = "sinceImagePushed"
	SinceImagePulled       CountType = "sinceImagePulled"
	SinceImageTransitioned CountType = "sinceImageTransitioned"
)

// ByAge reports whether the count number is an age in days; otherwise it is a
// number of images.
func (c CountType) ByAge() bool { return c != ImageCountMoreThan }

// CountUnit is the unit of an age.
type CountUnit string

// Days is the only CountUnit.
const Days CountUnit = "days"

// ActionType says what happens to the images a rule selects.
type ActionType string

// The values of ActionType.
const (
	Expire     ActionType = "expire"
	Transition ActionType = "transition"
)

// Policy is a valid lifecycle policy. Rules are in ascending order of priority
// number, that is, the rule applied first comes first.
type Policy struct {
	Rules []Rule `json:"rules"`
}

// Rule is one rule of a policy.
type Rule struct {
	// Priority is 1 or more and unique in the policy; lower is applied first.
	Priority    int       `json:"rulePriority"`
	Description string    `json:"description,omitempty"`
	Selection   Selection `json:"selection"`
	Action      Action    `json:"action"`
}

// Selection says which images a rule selects.
type Selection struct {
	TagStatus TagStatus `json:"tagStatus"`
	// TagPatterns and TagPrefixes: exactly one is filled for Tagged, none
	// otherwise. An image matches when each element matches one of its tags. A
	// pattern is anchored and may have up to four "*", each for any run of
	// characters.
	TagPatterns []string `json:"tagPatternList,omitempty"`
	TagPrefixes []string `json:"tagPrefixList,omitempty"`
	// StorageClass is Archive exactly when CountType is SinceImageTransitioned.
	StorageClass StorageClass `json:"storageClass"`
	CountType    CountType    `json:"countType"`
	// CountUnit is Days for ages and empty for ImageCountMoreThan.
	CountUnit CountUnit `json:"countUnit,omitempty"`
	// CountNumber is 1 or more (90 or more for SinceImageTransitioned).
	CountNumber int `json:"countNumber"`
}

// Action says what to do with the selected images.
type Action struct {
	Type ActionType `json:"type"`
	// TargetStorageClass is Archive for Transition and empty for Expire.
	TargetStorageClass StorageClass `json:"targetStorageClass,omitempty"`
}
