package ecr

// What the tests, which are outside of the package so that they can use ecrtest, see of its inside.

const MaxNodes = maxNodes

// DecodeShape reads the JSON of any structure of the model, outputs as well.
var DecodeShape = decode

// Syntax checks any JSON text.
func Syntax(text []byte) error {
	_, err := parse(nil, text)
	return err
}

// RepositoryNames are the pattern that the sentence about repository names prints, and the shape that decides.
func RepositoryNames() (printed *Pattern, decides *Shape) {
	return newPattern(wordingOf(shapeRepositoryName).pattern), shapeRepositoryName
}
