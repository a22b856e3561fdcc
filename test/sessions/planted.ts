/** The code of a worker that fails as soon as it starts. */

throw new Error('planted')
