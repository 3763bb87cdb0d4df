"""Secure aggregation: the server learns the sum of the sites' vectors and none of them.

The protocol is that of Bonawitz et al. 2017 (doi:10.1145/3133956.3133982), with its round of
consistency checks against a server that does not keep to it, over the sparse graph of Bell et al.
2020 (doi:10.1145/3372297.3417885) where there are many sites:

1. Each site makes two key pairs for the round and signs them with its own long-lived key.
2. It splits the secret that makes its masks, and a seed of its own, into shares, one for each
   neighbour, which only that neighbour can read.
3. It sends its vector plus a mask of its own seed, plus or minus one mask for each neighbour; the
   latter cancel in the sum.
4. Each site signs the list of those whose vectors arrived, and sees that enough others signed it.
5. It sends its shares: of the seed of a site whose vector arrived, or of the secret of one that was
   lost. Never both of one site, so that no single vector is ever without a mask.

Vectors are 64-bit integers that wrap around, so the sum is exact whichever sites are lost.
"""
